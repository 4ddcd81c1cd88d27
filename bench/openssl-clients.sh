#!/bin/sh
# What a person does who has a CA of `openssl ca` and many clients: `openssl-clients.sh OPENSSL CNF
# COUNT`, in the CA's directory. Each client's key is encrypted under the same password, so nothing
# is spent on making one for each.
set -eu
number=0
while [ "$number" -lt "$3" ]; do
    client="client$number"
    "$1" req -config "$2" -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -passout file:password \
        -subj "/CN=$client" -keyout "out/$client.key" -out "$client.csr"
    "$1" ca -config "$2" -batch -notext -in "$client.csr" -out "out/$client.crt"
    number=$((number + 1))
done
