'use strict';

/*
 * certwarden's hot-reload module: Node-RED takes up new certificates and revocation lists without a restart.
 * One line in settings.js:
 *
 *     https: require("/path/to/hot.js")({ live: "/var/lib/certwarden/live/node-red" }),
 *
 * It returns a plain options object, finds the servers made from it (Node-RED's and uibuilder's), looks at
 * `live/current` every few seconds, checks what it finds there as a whole and hands it to those servers. With
 * `clientAuth: true` it asks for client certificates and cuts the open connections of revoked clients.
 *
 * It owns one file, `live/loaded/PID.json`, which says what is loaded, and which clients were here when. It does not
 * obtain, renew, judge or write certificates: whoever publishes generations vouches for their order; this module
 * vouches that what is served belongs together. It never throws into Node-RED, never falls back to plain HTTP and
 * never asks less of a client than it was told to: in doubt the last good material stays, and without any no
 * handshake succeeds.
 *
 * Node 18 to 24, no dependencies. Keep it where Node-RED's own user cannot write to it.
 */

const crypto = require('crypto');
const diagnostics = require('diagnostics_channel');
const fs = require('fs');
const https = require('https');
const path = require('path');
const tls = require('tls');

const OPTIONS = ['live', 'clientAuth', 'pollSeconds', 'extra'];
const DEFAULT_POLL_SECONDS = 5;
const REFUSALS_LOGGED_PER_MINUTE = 6;
const CLIENTS_REMEMBERED = 200;
const SEEN_AGAIN_MILLISECONDS = 3600_000; // to the hour is near enough
// Each write wears the card that Node-RED may live on: so long at least between two that only say who was here.
const SECONDS_BEFORE_A_NEW_CLIENT = 60;
const SECONDS_BEFORE_A_KNOWN_CLIENT = 600;

// What `extra` may add: versions, ciphers, time limits. A list of what is allowed, because Node knows several ways
// round a client certificate (pskCallback, SNICallback, ticketKeys, …) and learns new ones with each release.
const EXTRA = [
  'minVersion', 'maxVersion', 'ciphers', 'ecdhCurve', 'sigalgs', 'dhparam', 'honorCipherOrder', 'secureOptions',
  'handshakeTimeout', 'sessionTimeout', 'ALPNProtocols', 'keepAlive', 'keepAliveInitialDelay', 'keepAliveTimeout',
  'headersTimeout', 'requestTimeout', 'connectionsCheckingInterval', 'maxHeaderSize', 'noDelay', 'highWaterMark',
];
// Fixed ticket keys outlive a change of the revocation list: a revoked client would resume its session.
const EXTRA_WITHOUT_CLIENT_AUTH = [...EXTRA, 'ticketKeys'];

/** One watcher for each distinct call, so that `https: () => hot({…})`, called at each refresh, leaks nothing. */
const watchers = new Map();

module.exports = function certwarden(given) {
  try {
    const asked = understand(given);
    const call = JSON.stringify(asked);
    if (!watchers.has(call)) watchers.set(call, new Watcher(asked));
    return watchers.get(call).options;
  } catch (error) {
    const why = sentence(error);
    say('warn', `${why}; every connection will be refused until settings.js is corrected`);
    return marked({ requestCert: true, rejectUnauthorized: true }, { live: null, clientAuth: null, error: why });
  }
};

class Watcher {
  constructor({ live, clientAuth, pollSeconds, extra }) {
    this.live = live;
    this.clientAuth = clientAuth;
    this.servers = new Set(); // listening now
    this.known = new WeakSet(); // listened to once: a server may close and listen again
    this.peers = new Map(); // open socket -> serial of its client's certificate
    this.seen = new Map(); // serial -> when its client was here, in milliseconds; the least recently seen first
    this.patience = Infinity; // seconds after `toldAt` when what is not saved of `seen` is worth a write
    this.toldAt = -SECONDS_BEFORE_A_KNOWN_CLIENT; // in seconds of this process, which no clock sets back
    this.loaded = null; // the last good generation
    this.error = null; // why `current` is not it
    this.reported = {};
    this.refusals = { since: 0, count: 0 };

    // The session id context is the mark by which a server made from these options is known: Node keeps it on the
    // server, through every setSecureContext, and it survives a copy of the options and a start without a key.
    this.base = { ...extra, sessionIdContext: `certwarden${crypto.randomBytes(8).toString('hex')}` };
    if (clientAuth) Object.assign(this.base, { requestCert: true, rejectUnauthorized: true });
    this.options = marked({ ...this.base }, { live, clientAuth, error: null });
    // What Node would throw at when Node-RED makes its server, it throws at here, where it can be caught.
    https.createServer(this.options).close();

    this.poll();
    const adopt = contained(({ server, socket }) => this.adopt(server ?? socket.server));
    diagnostics.subscribe('tracing:net.server.listen:asyncStart', adopt);
    diagnostics.subscribe('net.server.socket', adopt); // Node 18 has only this one
    setInterval(contained(() => this.poll()), pollSeconds * 1000).unref();
  }

  poll() {
    try {
      const directory = fs.realpathSync(path.join(this.live, 'current')); // once: all files from one generation
      const stamp = this.stamp(directory);
      if (this.loaded?.stamp !== stamp) this.take(directory, stamp);
      this.error = null;
    } catch (error) {
      this.error = sentence(error);
      if (!this.loaded) this.takeNewestGood();
    }
    // Before Node 20 a server shows itself only with its first connection; the open handles show it before that.
    if (parseInt(process.versions.node, 10) < 20) process._getActiveHandles().forEach((handle) => this.adopt(handle));
    this.report();
    if (this.clientAuth) this.notice();
  }

  /** Changes whenever one of the files does; cheaper than reading a long revocation list every few seconds. */
  stamp(directory) {
    const files = ['privkey.pem', 'fullchain.pem'];
    if (this.clientAuth) files.push('client-ca.pem', 'client-crl.pem', 'revoked.json');
    return files.reduce((stamp, name) => {
      const { dev, ino, size, mtimeNs, ctimeNs } = fs.statSync(path.join(directory, name), { bigint: true });
      return `${stamp}\n${dev} ${ino} ${size} ${mtimeNs} ${ctimeNs}`;
    }, directory);
  }

  /** Puts a generation to use at every server, or throws and changes nothing. */
  take(directory, stamp) {
    const generation = { ...readGeneration(directory, this.clientAuth), stamp };
    // Checked first, because a server's setSecureContext remembers the new files even where it then throws.
    tls.createSecureContext({ ...this.base, ...generation.material });
    this.loaded = generation;
    Object.assign(this.options, generation.material); // for servers that are yet to be made
    this.servers.forEach((server) => this.renew(server));
    this.cutRevoked();
  }

  takeNewestGood() {
    const generations = path.join(this.live, 'generations');
    let names = [];
    try {
      names = fs.readdirSync(generations).filter((name) => /^\d+$/.test(name)).sort((a, b) => Number(b) - Number(a));
    } catch { /* there are none; why `current` is unusable has been noted */ }
    for (const name of names) {
      try {
        const directory = path.join(generations, name);
        return this.take(directory, this.stamp(directory));
      } catch { /* nor this one */ }
    }
  }

  adopt(server) {
    if (!(server instanceof tls.Server) || server.sessionIdContext !== this.base.sessionIdContext) return;
    if (this.servers.has(server)) return;
    this.servers.add(server);
    this.renew(server);
    if (!this.known.has(server)) {
      this.known.add(server);
      server.on('close', contained(() => { this.servers.delete(server); this.report(); }));
      if (this.clientAuth) {
        server.on('secureConnection', contained((socket) => this.welcome(socket)));
        server.on('tlsClientError', contained((error, socket) => this.explainRefusal(error, socket)));
      }
    }
    this.report();
  }

  /** A server may have been made from older material than is loaded now. */
  renew(server) {
    if (!this.loaded || server.cert === this.loaded.material.cert) return;
    server.setSecureContext({ ...this.base, ...this.loaded.material });
  }

  welcome(socket) {
    this.peers.set(socket, socket.getPeerCertificate()?.serialNumber);
    socket.once('close', () => this.peers.delete(socket));
    this.cutRevoked(); // this handshake may have begun before the list changed
    this.notice();
  }

  /** Remembers who is here, be it by a connection that has been open for weeks. */
  notice() {
    const now = Date.now();
    for (const [socket, serial] of this.peers) {
      const before = this.seen.get(serial);
      if (Math.abs(now - before) < SEEN_AGAIN_MILLISECONDS) continue;
      if (!socket.authorized || !isSerial(serial) || serial.length > 40) continue;
      this.seen.delete(serial); // a Map keeps its order, and this one is now the last
      this.seen.set(serial, now);
      if (this.seen.size > CLIENTS_REMEMBERED) this.seen.delete(this.seen.keys().next().value);
      this.patience = Math.min(this.patience, before ? SECONDS_BEFORE_A_KNOWN_CLIENT : SECONDS_BEFORE_A_NEW_CLIENT);
    }
    if (process.uptime() - this.toldAt < this.patience) return;
    this.toldAt = process.uptime();
    this.save();
  }

  cutRevoked() {
    for (const [socket, serial] of this.peers) {
      if (!this.loaded?.revoked.has(serial)) continue;
      this.peers.delete(socket);
      socket.destroy();
      say('log', `cut a connection of the revoked client certificate ${serial}`);
    }
  }

  /** Node-RED's log says nothing about a refused client, and the browser shows no reason either. */
  explainRefusal(error, socket) {
    const noCertificate = error?.code === 'ERR_SSL_PEER_DID_NOT_RETURN_A_CERTIFICATE';
    const why = socket?.authorizationError || (noCertificate && 'it showed no certificate');
    if (!why) return; // port scanners and plain HTTP
    const now = Date.now();
    if (Math.abs(now - this.refusals.since) > 60_000) this.refusals = { since: now, count: 0 };
    this.refusals.count += 1;
    if (this.refusals.count > REFUSALS_LOGGED_PER_MINUTE) return;
    const last = this.refusals.count === REFUSALS_LOGGED_PER_MINUTE ? ' (more of these are not logged for a minute)' : '';
    say('warn', `refused a client: ${why}${last}`);
  }

  /** Says what has changed, in the log and in the status file. Silent while no server uses the options. */
  report() {
    const now = { stamp: this.loaded?.stamp, error: this.error, servers: this.servers.size };
    const before = this.reported;
    if (now.stamp === before.stamp && now.error === before.error && now.servers === before.servers) return;

    const news = now.stamp !== before.stamp || now.servers > (before.servers ?? 0) || before.error;
    const servers = `${now.servers} ${now.servers === 1 ? 'server' : 'servers'}`;
    if (now.error && now.error !== before.error) {
      const instead = this.loaded ? `generation ${this.loaded.name} stays in use` : 'every connection is refused';
      say('warn', `cannot use ${path.join(this.live, 'current')}: ${now.error}; ${instead}`);
    } else if (now.servers && this.loaded && news) {
      const list = this.clientAuth ? `, revocation list number ${this.loaded.crlNumber}` : '';
      say('log', `generation ${this.loaded.name} is in use at ${servers}: certificate until ${this.loaded.notAfter}${list}`);
    }
    if (now.servers || before.saved) this.save();
    this.reported = { ...now, saved: before.saved || now.servers > 0 };
  }

  /** Whole or not at all; where it may not write, it carries on. Not tried before a server is known: health checks,
   *  inspectors and `node-red admin` evaluate settings.js too, and serve nothing. */
  save() {
    const file = path.join(this.live, 'loaded', `${process.pid}.json`);
    const status = {
      pid: process.pid,
      started_at: utc(Date.now() - process.uptime() * 1000),
      generation: this.loaded?.name ?? null,
      fingerprint_sha256: this.loaded?.fingerprint ?? null,
      not_after: this.loaded?.notAfter ?? null,
      client_auth: this.clientAuth,
      crl_number: this.loaded?.crlNumber ?? null,
      servers: this.servers.size,
      loaded_at: this.loaded?.at ?? null,
      error: this.error,
      clients: this.clientAuth ? Object.fromEntries([...this.seen].map(([serial, at]) => [serial, utc(at)])) : null,
    };
    try {
      const draft = `${file}.tmp`;
      fs.rmSync(draft, { force: true });
      fs.writeFileSync(draft, `${JSON.stringify(status)}\n`, { flag: 'wx', mode: 0o644 });
      fs.chmodSync(draft, 0o644); // certwarden is not in our group; the directory keeps others out
      fs.renameSync(draft, file);
      if (!this.cleansUp) process.once('exit', contained(() => fs.rmSync(file, { force: true })));
      this.cleansUp = true;
      this.patience = Infinity;
    } catch (error) {
      if (!this.saidUnsaved) say('warn', `cannot say in ${path.dirname(file)} what is loaded: ${sentence(error)}`);
      this.saidUnsaved = true;
    }
  }
}

/** Refuses what it does not know: a misspelt `clientAuth` must not mean "ask nobody for a certificate". */
function understand(given) {
  if (typeof given !== 'object' || given === null) throw new Error('hot.js needs { live: "/directory" }');
  const unknown = Object.keys(given).filter((name) => !OPTIONS.includes(name));
  if (unknown.length) throw new Error(`hot.js knows no option "${unknown[0]}" (it knows ${OPTIONS.join(', ')})`);
  const { live, clientAuth = false, pollSeconds = DEFAULT_POLL_SECONDS, extra = {} } = given;
  if (typeof live !== 'string' || !live) throw new Error('hot.js needs the option live, a directory');
  if (typeof clientAuth !== 'boolean') throw new Error('the option clientAuth of hot.js is true or false');
  if (typeof extra !== 'object' || extra === null) throw new Error('the option extra of hot.js is an object');

  const sane = typeof pollSeconds === 'number' && pollSeconds >= 0.1 && pollSeconds <= 3600;
  if (!sane) say('warn', `pollSeconds is between 0.1 and 3600; taking ${DEFAULT_POLL_SECONDS}`);
  const allowed = clientAuth ? EXTRA : EXTRA_WITHOUT_CLIENT_AUTH;
  const kept = Object.entries(extra).filter(([name]) => {
    if (!allowed.includes(name)) say('warn', `extra may not set "${name}"${clientAuth ? ' with clientAuth' : ''}; left out`);
    return allowed.includes(name);
  });
  return {
    live: path.resolve(live), clientAuth, pollSeconds: sane ? pollSeconds : DEFAULT_POLL_SECONDS, extra: Object.fromEntries(kept),
  };
}

/** What one generation directory holds, or an error where something is absent, broken or does not belong together. */
function readGeneration(directory, clientAuth) {
  const read = (name) => fs.readFileSync(path.join(directory, name));
  const material = { key: read('privkey.pem'), cert: read('fullchain.pem') };
  const [leaf] = certificates(material.cert, 'fullchain.pem');
  // OpenSSL itself lets a key of one kind pass beside a certificate of another.
  if (!leaf.checkPrivateKey(crypto.createPrivateKey(material.key))) {
    throw new Error('privkey.pem is not the key of the certificate in fullchain.pem');
  }
  let revoked = { crl_number: null, serials: [] };
  if (clientAuth) {
    material.ca = pemBlocks(read('client-ca.pem'), 'CERTIFICATE', 'client-ca.pem');
    certificates(material.ca.join('\n'), 'client-ca.pem'); // Node takes an unreadable CA without a word
    material.crl = pemBlocks(read('client-crl.pem'), 'X509 CRL', 'client-crl.pem');
    revoked = revokedList(read('revoked.json'));
  }
  return {
    material,
    name: path.basename(directory),
    fingerprint: leaf.fingerprint256.replaceAll(':', '').toLowerCase(),
    notAfter: utc(Date.parse(leaf.validTo)),
    crlNumber: revoked.crl_number,
    revoked: new Set(revoked.serials),
    at: utc(Date.now()),
  };
}

/** The serials of the list once more: Node can judge by a revocation list, but not read one. */
function revokedList(json) {
  try {
    const list = JSON.parse(json);
    if (Number.isInteger(list.crl_number) && list.serials.every(isSerial)) return list;
  } catch { /* said below, without a piece of the file */ }
  throw new Error('revoked.json is not {"crl_number": n, "serials": ["0A", …]}');
}

/** As Node writes them. */
function isSerial(serial) {
  return typeof serial === 'string' && /^([0-9A-F]{2})+$/.test(serial);
}

function certificates(pem, file) {
  return pemBlocks(pem, 'CERTIFICATE', file).map((block) => new crypto.X509Certificate(block));
}

/** One string for each block. Node reads only the first list of a PEM, and takes an empty string for "no list". */
function pemBlocks(pem, label, file) {
  const begin = `-----BEGIN ${label}-----`;
  const blocks = pem.toString('latin1').match(new RegExp(`${begin}[^-]+-----END ${label}-----`, 'g')) ?? [];
  const begun = pem.toString('latin1').split(begin).length - 1;
  if (!blocks.length || blocks.length !== begun) throw new Error(`${file} holds no whole ${label}`);
  return blocks.map((block) => `${block}\n`);
}

/** Lets `nodered inspect` see where the options come from; copies and JSON do not carry it. */
function marked(options, origin) {
  return Object.defineProperty(options, Symbol.for('certwarden'), { value: Object.freeze(origin) });
}

/** An exception that leaves a timer, a channel or an event would end Node-RED. */
function contained(act) {
  let said = false;
  return (...given) => {
    try {
      act(...given);
    } catch (error) {
      if (!said) say('warn', `something unforeseen, please report it: ${sentence(error)}`);
      said = true;
    }
  };
}

function sentence(error) {
  return error instanceof Error ? String(error.message).replace(/[\x00-\x1f\x7f-\x9f]+/g, ' ') : 'not an error, but thrown';
}

function utc(milliseconds) {
  return `${new Date(milliseconds).toISOString().slice(0, 19)}Z`;
}

function say(how, text) {
  console[how](`[certwarden] ${text}`);
}
