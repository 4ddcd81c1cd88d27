'use strict';

// node server.js HOT_JS OPTIONS [COUNT]: https servers made from hot.js' options, as Node-RED and uibuilder make
// them. OPTIONS is a JavaScript expression. GET /relisten closes the first one and lets it listen again.

const https = require('https');
const [hotModule, expression, count = '1'] = process.argv.slice(2);
const options = require(hotModule)(eval(`(${expression})`));

const answer = (request, response) => {
  response.end(`${process.pid}\n`);
  if (request.url !== '/relisten') return;
  const first = servers[0];
  const { port } = first.address();
  first.close(() => first.listen(port, '127.0.0.1', () => console.log('listening again')));
  first.closeAllConnections();
};

const servers = Array.from({ length: Number(count) }, () => https.createServer(options, answer));
servers.forEach((server, index) => {
  server.listen(0, '127.0.0.1', () => console.log(`server ${index} listens on ${server.address().port}.`));
});
process.on('SIGINT', () => process.exit(0));
