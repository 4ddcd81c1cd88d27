'use strict';

/*
 * Who is it? Gives flows the name in the client certificate, once hot.js lets in nobody without one. In settings.js:
 *
 *     httpNodeMiddleware: require("/path/to/identity.js"),
 *     uibuilder: { hooks: require("/path/to/identity.js").uibuilder },
 *
 * An http-in node then has msg.req.certwarden, a uibuilder node msg._client: {name, email, serial, notAfter}. The
 * dashboard's msg._client.certwarden comes from the plugin in dashboard.js.
 *
 * It lets in or refuses nobody. What it says comes from the certificate that the TLS connection itself was verified
 * by, never from a header: where TLS ends at a proxy it says nothing, and the proxy's own headers are what to read.
 *
 * Node 18 to 24, no dependencies. Keep it where Node-RED's own user cannot write to it.
 */

const { TLSSocket } = require('tls');

/** Whose each connection of socket.io is: when it is told to have ended, nothing is left to be asked. */
const remembered = new WeakMap();

module.exports = function identity(request, response, next) {
  request.certwarden = clientOf(request.socket);
  next();
};

module.exports.clientOf = clientOf;
module.exports.clientOfConnection = clientOfConnection;

/** uibuilder takes its msg._client from headers. Where TLS ends here, no proxy has set them, but the client itself. */
module.exports.uibuilder = {
  clientDetails({ client, socket }) {
    const who = clientOfConnection(socket);
    const { address, headers, secure } = socket.handshake;
    if (secure) delete client._client;
    if (!who) return;
    client._client = {
      ...who, userId: who.name, provider: 'certwarden', socketId: socket.id, ip: address, agent: headers['user-agent'] ?? null,
    };
  },
};

/** Whose verified certificate the TLS connection has, or undefined. Never throws. */
function clientOf(socket) {
  try {
    if (!(socket instanceof TLSSocket) || socket.authorized !== true) return undefined;
    const { subject, subjectaltname, serialNumber, valid_to: end } = socket.getPeerCertificate();
    if (typeof subject?.CN !== 'string' || !serialNumber) return undefined; // several names are none
    return Object.freeze({
      name: subject.CN,
      email: email(subjectaltname),
      serial: serialNumber.toLowerCase(),
      notAfter: `${new Date(end).toISOString().slice(0, 19)}Z`,
    });
  } catch {
    return undefined; // the connection has been closed meanwhile
  }
}

/** The same for a connection of socket.io: of its websocket, else of the request that it began with. */
function clientOfConnection(connection) {
  const websocket = connection.conn?.transport?.socket?._socket;
  const who = clientOf(websocket) ?? remembered.get(connection) ?? clientOf(connection.request?.socket);
  if (who) remembered.set(connection, who);
  return who;
}

/** Node quotes a name that could be taken for several; such a list is not taken apart. */
function email(names = '') {
  const found = names.includes('"') ? [] : names.split(', ').filter((name) => name.startsWith('email:'));
  return found.length === 1 ? found[0].slice('email:'.length) : undefined;
}
