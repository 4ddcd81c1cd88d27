#!/bin/sh
# What uacme calls for each challenge: METHOD TYPE IDENTIFIER TOKEN AUTHORIZATION. Puts the TXT
# record into the emulated Cloudflare and takes it away again by its id, with no more calls than
# that needs and without asking DNS whether it is visible: as quick as such a hook can be.
set -eu
[ "$2" = dns-01 ] || exit 1
name=_acme-challenge.$3
value=$5
note="$HOME/record$value"

call() {
    curl -fsS -H "Authorization: Bearer $API_TOKEN" -H 'Content-Type: application/json' "$@"
}
first_id() { sed 's/^{"result": *\[\{0,1\}{"id": *"\([0-9a-f]*\)".*/\1/'; }

case $1 in
begin)
    records=$API_URL/zones/$(call "$API_URL/zones?name=$3" | first_id)/dns_records
    record='{"type":"TXT","name":"'$name'","content":"\"'$value'\"","ttl":60}'
    echo "$records/$(call -d "$record" "$records" | first_id)" >"$note"
    ;;
done | failed)
    call -X DELETE "$(cat "$note")" >/dev/null
    ;;
esac
