'use strict';

// node server.js HOT_JS OPTIONS [COUNT]: https servers made from hot.js' options, as Node-RED and uibuilder make
// them. OPTIONS is a JavaScript expression. GET /relisten closes the first one and lets it listen again, GET
// /later/SECONDS has both clocks of this process go forward by that.

const https = require('https');
const [hotModule, expression, count = '1'] = process.argv.slice(2);
const options = require(hotModule)(eval(`(${expression})`));

const { now } = Date;
const { uptime } = process;
let ahead = 0;
Date.now = () => now() + ahead * 1000;
process.uptime = () => uptime() + ahead;

const answer = (request, response) => {
  response.end(`${process.pid}\n`);
  ahead += Number(request.url.match(/^\/later\/(\d+)$/)?.[1] ?? 0);
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
