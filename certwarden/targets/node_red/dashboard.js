'use strict';

/*
 * A plugin of Node-RED for Dashboard 2: msg._client.certwarden says whose certificate the browser has shown, as
 * identity.js tells it. In settings.js:
 *
 *     nodesDir: "/path/to/the/directory/of/this/file",
 *
 * It changes nothing else, and does nothing where there is no Dashboard 2.
 */

const { clientOfConnection } = require('./identity.js');

module.exports = (RED) => RED.plugins.registerPlugin('certwarden-dashboard', {
  type: 'node-red-dashboard-2',
  hooks: {
    /** Overwrites what the browser itself may have put there. */
    onAddConnectionCredentials(connection, msg) {
      msg._client = { ...msg._client, certwarden: clientOfConnection(connection) };
      return msg;
    },
  },
});
