'use strict';

/*
 * What does a settings.js of Node-RED say about TLS now?     node inspect.js /path/to/settings.js [-]
 *
 * With `-`, what comes on stdin is run as if it stood in settings.js: what would it say if it were changed so?
 *
 * settings.js is a program, so it is run, not read: by Node-RED's own user, never by root, with the cwd, HOME and
 * environment that the caller sets. Prints one JSON object to stdout and exits 0, also where settings.js is absent or
 * broken: then it is {"error": "one sentence"}. The program runs in a child of this process whose stdout and stderr
 * go nowhere and whose findings come over descriptor 3, so neither its console output nor an endless loop gets in
 * the way. Ports, connections, processes, workers and exits are blocked and reported; writing files is not.
 *
 * It owns nothing and judges nothing: it reports, and leaves findings and remedies to the caller. Secrets (keys,
 * passphrases, hashes) are looked at here and never printed. The caller treats the output as hostile all the same:
 * what runs here can print what it likes.
 */

const childProcess = require('child_process');
const crypto = require('crypto');
const dgram = require('dgram');
const fs = require('fs');
const http = require('http');
const https = require('https');
const module_ = require('module');
const net = require('net');
const path = require('path');
const tls = require('tls');
const util = require('util');
const workerThreads = require('worker_threads');

const PROMISE_MILLISECONDS = 7000; // for an https promise, so that the rest can still be reported
const DEADLINE_MILLISECONDS = 8000; // for everything, endless loops included
const OUTPUT_BYTES = 64 * 1024;
const TEXT_LENGTH = 400;
const LIST_LENGTH = 50;
const ITEMS = ['key', 'cert', 'ca', 'crl', 'pfx'];
// The hash that Node-RED's default settings.js shows as its example, of the word "password", in any of bcrypt's names.
const SAMPLE_HASH = /^\$2[abxy]?\$08\$zZWtXTja0fB1pzD4sHCMyOCMYz2Z6dNbM6tl8sJogENOMcxWV9DN\.$/;
const MARK = Symbol.for('certwarden');
const toJson = JSON.stringify; // before settings.js can put something in its place

const childOf = process.env.CERTWARDEN_INSPECT_CHILD;
delete process.env.CERTWARDEN_INSPECT_CHILD;
if (process.getuid?.() === 0 || process.geteuid?.() === 0) {
  print({ error: 'settings.js is a program and is not run as root; run this as the user that Node-RED runs as' });
} else if (childOf === String(process.ppid)) {
  inspectAndSend(process.argv[2], process.argv[3] === '-');
} else {
  supervise(process.argv[2], process.argv[3] === '-');
}

function print(findings) {
  process.stdout.write(`${JSON.stringify(findings)}\n`);
}

// --- the parent: starts the child, waits no longer than it must ---------------------------------------------------

function supervise(settings, isOnStdin) {
  if (!settings) return print({ error: 'no settings.js was named' });

  const child = childProcess.spawn(process.execPath, [
    ...process.execArgv, __filename, path.resolve(settings), ...(isOnStdin ? ['-'] : []),
  ], {
    stdio: [isOnStdin ? 0 : 'ignore', 'ignore', 'ignore', 'pipe'],
    env: { ...process.env, CERTWARDEN_INSPECT_CHILD: String(process.pid) },
  });
  let received = Buffer.alloc(0);
  let late = false;
  child.stdio[3].on('error', () => {});
  child.stdio[3].on('data', (piece) => {
    if (received.length <= OUTPUT_BYTES) received = Buffer.concat([received, piece]);
  });
  const timer = setTimeout(() => { late = true; child.kill('SIGKILL'); }, DEADLINE_MILLISECONDS);
  child.on('error', (error) => { clearTimeout(timer); print({ error: sentence(error) }); });
  child.on('close', (code, signal) => {
    clearTimeout(timer);
    if (late) return print({ error: `settings.js did not come to an end within ${DEADLINE_MILLISECONDS / 1000} s` });
    if (received.length > OUTPUT_BYTES) return print({ error: 'settings.js has more to say than 64 KiB' });
    const early = { error: `settings.js ended the inspection early (${signal ?? `exit ${code}`})` };
    try {
      return print(code === 0 ? JSON.parse(received.toString('utf8')) : early);
    } catch {
      return print(early);
    }
  });
}

// --- the child: runs settings.js and looks at what it exports -----------------------------------------------------

async function inspectAndSend(settings, isOnStdin) {
  const source = isOnStdin ? fs.readFileSync(0, 'utf8') : null;
  const send = fs.writeSync;
  const end = process.reallyExit.bind(process);
  const reads = watchReads();
  const blocked = blockTheWorld();
  process.on('unhandledRejection', () => {}); // Node-RED's concern, not ours
  process.on('uncaughtException', () => {});

  let findings;
  try {
    if (!fs.existsSync(settings)) throw new Error(`there is no ${settings}`);
    process.argv = [process.argv[0], settings];
    const exported = isOnStdin ? runAs(settings, source) : require(settings);
    findings = await describe(exported, reads);
  } catch (error) {
    findings = { error: sentence(error) };
  }
  findings.blocked = [...blocked].slice(0, LIST_LENGTH);
  findings.node = process.version;
  send(3, toJson(findings));
  end(0);
}

/** What `source` exports where it stands in `settings`: whatever else there is to loading it, Node does as ever. */
function runAs(settings, source) {
  const file = fs.realpathSync(settings);
  const { prototype } = module_.Module;
  const compile = prototype._compile;
  prototype._compile = function (content, name, ...rest) {
    if (name !== file) return compile.call(this, content, name, ...rest);
    prototype._compile = compile;
    return compile.call(this, source.replace(/^\uFEFF/, ''), name, ...rest);
  };
  return require(settings);
}

async function describe(settings, reads) {
  if (typeof settings !== 'object' || settings === null) throw new Error('settings.js exports no object');
  const { kind, value, error } = await httpsOf(settings);
  return {
    https: { kind, error, ...optional(() => describeTls(value, reads)) },
    https_refresh_interval: scalar(settings.httpsRefreshInterval),
    require_https: Boolean(settings.requireHttps),
    exports: optional(() => Object.keys(settings).slice(0, LIST_LENGTH).map((name) => text(`${name}: ${typeof settings[name]}`))),
    ui_host: scalar(settings.uiHost),
    ui_port: scalar(settings.uiPort),
    http_admin_root: scalar(settings.httpAdminRoot),
    http_node_root: scalar(settings.httpNodeRoot),
    disable_editor: Boolean(settings.disableEditor),
    admin_auth: optional(() => describeAdminAuth(settings.adminAuth)),
    http_node_auth: optional(() => describeBasicAuth(settings.httpNodeAuth)),
    http_static_auth: optional(() => describeBasicAuth(settings.httpStaticAuth)),
    uibuilder: optional(() => describeUibuilder(settings, kind)),
  };
}

/** What red.js would hand to https.createServer, and the way it got there. */
async function httpsOf(settings) {
  const given = settings.https;
  let kind = kindOf(given);
  try {
    let value = given;
    if (kind === 'function') {
      value = given();
      if (util.types.isPromise(value) || typeof value?.then === 'function') kind = 'function-returning-promise';
    }
    value = await inTime(value);
    if (value && typeof value !== 'object') throw new Error(`https came out as a ${typeof value}, not as an object`);
    return { kind, value: value || null, error: null };
  } catch (error) {
    return { kind, value: null, error: sentence(error) };
  }
}

function kindOf(value) {
  if (!value) return 'absent';
  if (typeof value === 'function') return 'function';
  if (typeof value.then === 'function') return 'promise';
  return typeof value === 'object' ? 'object' : 'invalid';
}

function inTime(promise) {
  const late = new Promise((_, reject) => {
    setTimeout(() => reject(new Error(`https did not settle within ${PROMISE_MILLISECONDS / 1000} s`)), PROMISE_MILLISECONDS);
  });
  return Promise.race([promise, late]);
}

function describeTls(options, reads) {
  if (!options) return { tls: false, certwarden: null };
  const mark = options[MARK];
  const { usable, context } = tryOut(options);
  return {
    tls: true,
    certwarden: mark ? { live: text(mark.live), client_auth: Boolean(mark.clientAuth), error: text(mark.error) } : null,
    items: Object.fromEntries(ITEMS.map((name) => [name, describeItem(options[name], reads)])),
    passphrase: Boolean(options.passphrase) || list(options.key).some((key) => Boolean(key?.passphrase)),
    request_cert: Boolean(options.requestCert),
    reject_unauthorized: options.rejectUnauthorized !== false,
    ticket_keys: Boolean(options.ticketKeys),
    sni_callback: Boolean(options.SNICallback),
    usable: usable === null,
    unusable_because: usable,
    leaf: optional(() => describeLeaf(context, options)),
  };
}

/** Why Node could not serve with these options, or null. */
function tryOut(options) {
  try {
    const context = tls.createSecureContext(options);
    const der = context.context.getCertificate();
    if (!der) return { usable: 'there is no certificate', context };
    const key = list(options.key);
    // A key of another kind than the certificate's gets past OpenSSL, and then every handshake fails.
    if (key.length === 1 && bytes(key[0])) {
      const pem = { key: bytes(key[0]), passphrase: key[0].passphrase ?? options.passphrase };
      if (!new crypto.X509Certificate(der).checkPrivateKey(crypto.createPrivateKey(pem))) {
        return { usable: 'the key is not the key of the certificate', context };
      }
    } else if (!options.pfx && !key.length) return { usable: 'there is no key', context };
    return { usable: null, context };
  } catch (error) {
    return { usable: sentence(error), context: null };
  }
}

function describeLeaf(context, options) {
  const first = bytes(list(options.cert)[0]);
  const leaf = new crypto.X509Certificate(context?.context.getCertificate() ?? first);
  const names = (leaf.subjectAltName ?? '').split(', ').filter((name) => /^(DNS|IP Address):/.test(name));
  return {
    names: names.slice(0, LIST_LENGTH).map((name) => text(name.replace(/^(DNS|IP Address):/, ''))),
    not_before: utc(leaf.validFrom),
    not_after: utc(leaf.validTo),
    fingerprint_sha256: leaf.fingerprint256.replaceAll(':', '').toLowerCase(),
  };
}

/** parts and blocks: Node reads only the first list of a `crl` string, and takes an empty one for "no list at all". */
function describeItem(item, reads) {
  const parts = list(item).map(bytes);
  if (item === undefined || item === null) return null;
  const known = parts.filter(Boolean);
  const files = new Set(known.flatMap((part) => [...(reads.get(digest(part)) ?? pemBlocks(part).flatMap(
    (block) => [...(reads.get(digest(block)) ?? [])],
  ))]));
  return {
    parts: parts.length,
    blocks: known.reduce((sum, part) => sum + pemBlocks(part).length, 0),
    empty: !known.some((part) => part.length),
    files: [...files].slice(0, LIST_LENGTH).map(describeFile),
  };
}

function describeFile(file) {
  const about = { path: text(file), realpath: null, mode: null, uid: null, gid: null };
  try {
    const { mode, uid, gid } = fs.statSync(file);
    return { ...about, realpath: text(fs.realpathSync(file)), mode: (mode & 0o7777).toString(8).padStart(4, '0'), uid, gid };
  } catch {
    return about;
  }
}

function describeAdminAuth(auth) {
  if (!auth) return { kind: 'none' };
  const users = Array.isArray(auth.users) ? auth.users : [];
  const anyone = typeof auth.default === 'function' ? 'function' : auth.default?.permissions;
  let kind = typeof auth === 'function' ? 'function' : 'other';
  if (auth.type === 'credentials' || auth.type === 'strategy') kind = auth.type;
  return {
    kind,
    users: typeof auth.users === 'function' ? 'function' : users.length,
    default_permissions: Array.isArray(anyone) ? anyone.slice(0, LIST_LENGTH).map(scalar) : scalar(anyone),
    everyone_may_do_everything: list(anyone).includes('*'),
    sample_password: users.some((user) => SAMPLE_HASH.test(user?.password)),
  };
}

function describeBasicAuth(auth) {
  return { set: Boolean(auth), sample_password: SAMPLE_HASH.test(auth?.pass) };
}

/** uibuilder's own server takes Node-RED's https as it stands; a function it takes for a request listener, and then
 *  it listens without a certificate and says nothing. */
function describeUibuilder(settings, httpsKind) {
  const { uibuilder } = settings;
  if (!uibuilder) return null;
  const ownServer = Boolean(uibuilder.port) && String(uibuilder.port) !== String(settings.uiPort ?? 1880);
  const wantsTls = uibuilder.customType !== 'http';
  return {
    port: scalar(uibuilder.port),
    custom_type: scalar(uibuilder.customType),
    https: kindOf(uibuilder.https),
    certwarden: Boolean(uibuilder.https?.[MARK]),
    own_server: ownServer,
    without_certificate: ownServer && wantsTls && !uibuilder.https && /^function/.test(httpsKind),
  };
}

// --- around settings.js -------------------------------------------------------------------------------------------

/** Remembers by its digest what was read from where: whole files, and the blocks of PEM files. */
function watchReads() {
  const reads = new Map();
  const remember = (file, content) => {
    if (typeof file === 'number' || !content) return;
    const name = path.resolve(file instanceof URL ? require('url').fileURLToPath(file) : String(file));
    const whole = Buffer.from(content);
    for (const piece of [whole, ...pemBlocks(whole)]) {
      const key = digest(piece);
      reads.set(key, (reads.get(key) ?? new Set()).add(name));
    }
  };
  const quietly = (file, content) => { try { remember(file, content); } catch { /* not a file with a name */ } };

  const { readFileSync, readFile } = fs;
  const readFilePromise = fs.promises.readFile;
  fs.readFileSync = function (file, ...rest) {
    const content = readFileSync.call(this, file, ...rest);
    quietly(file, content);
    return content;
  };
  fs.readFile = function (file, ...rest) {
    const done = rest.pop();
    return readFile.call(this, file, ...rest, typeof done !== 'function' ? done : (error, content) => {
      quietly(file, content);
      done(error, content);
    });
  };
  fs.readFile[util.promisify.custom] = (file, ...rest) => fs.promises.readFile(file, ...rest);
  fs.promises.readFile = async function (file, ...rest) {
    const content = await readFilePromise.call(this, file, ...rest);
    quietly(file, content);
    return content;
  };
  module_.syncBuiltinESMExports();
  return reads;
}

/** Nothing that settings.js starts gets out of this process. Returns what was tried. */
function blockTheWorld() {
  const tried = new Set();
  const refusal = (what) => {
    tried.add(what);
    return new Error(`${what} is blocked while certwarden inspects settings.js`);
  };
  const forbid = (owner, names, label) => names.forEach((name) => {
    owner[name] = () => { throw refusal(`${label}.${name}`); };
  });

  // A redirecting server in settings.js is no mistake: it stays silent. A connection fails, as it would offline.
  net.Server.prototype.listen = function () { refusal('net.Server.listen'); return this; };
  net.Socket.prototype.connect = function () {
    const error = refusal('net.Socket.connect');
    process.nextTick(() => this.destroy(error));
    return this;
  };
  for (const [client, label] of [[http, 'http'], [https, 'https']]) {
    for (const name of ['request', 'get']) {
      const original = client[name];
      client[name] = function (...given) { refusal(`${label}.${name}`); return original.apply(this, given); };
    }
  }
  dgram.Socket.prototype.bind = function () { refusal('dgram.Socket.bind'); return this; };
  forbid(dgram.Socket.prototype, ['send', 'connect'], 'dgram.Socket');
  forbid(childProcess, Object.keys(childProcess).filter((name) => name !== 'ChildProcess'), 'child_process');
  forbid(childProcess.ChildProcess.prototype, ['spawn'], 'ChildProcess');
  workerThreads.Worker = class Worker { constructor() { throw refusal('worker_threads.Worker'); } };
  forbid(process, ['exit', 'reallyExit', 'abort', 'kill', '_kill'], 'process');
  module_.syncBuiltinESMExports();
  return tried;
}

// --- small words --------------------------------------------------------------------------------------------------

function list(value) {
  if (value === undefined || value === null) return [];
  return Array.isArray(value) ? value : [value];
}

/** The bytes of a key, certificate or list in any form that Node takes, or null. */
function bytes(part) {
  if (typeof part === 'string') return Buffer.from(part);
  if (ArrayBuffer.isView(part)) return Buffer.from(part.buffer, part.byteOffset, part.byteLength);
  return part && typeof part === 'object' ? bytes(part.pem ?? part.buf ?? null) : null;
}

function pemBlocks(content) {
  return content.toString('latin1').match(/-----BEGIN ([A-Z0-9 ]+)-----[^-]+-----END \1-----/g) ?? [];
}

/** White space at the ends does not count: many read with .toString().trim(). */
function digest(content) {
  return crypto.createHash('sha256').update(content.toString('latin1').trim(), 'latin1').digest('hex');
}

function optional(look) {
  try {
    return look();
  } catch {
    return null;
  }
}

function scalar(value) {
  if (typeof value === 'function') return 'function';
  if (typeof value === 'number' || typeof value === 'boolean') return value;
  return value === undefined || value === null ? null : text(value);
}

/** Foreign text, fit for a terminal and without what looks like a secret. */
function text(value) {
  if (value === undefined || value === null) return null;
  return String(value)
    .replace(/-----BEGIN[^]*/g, '…')
    .replace(/\$2[abxy]?\$\d\d\$[./A-Za-z0-9]*/g, '…')
    .replace(/[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]+/g, ' ')
    .slice(0, TEXT_LENGTH);
}

/** The message without Node's require stack, with the line where settings.js cannot be parsed. */
function sentence(error) {
  try {
    const message = text(error?.message ? String(error.message).split('\n')[0] : error);
    const where = error instanceof SyntaxError && /^(\/.*:\d+)$/m.exec(String(error.stack).split('\n')[0]);
    return where ? `${text(where[1])}: ${message}` : message || 'it failed without a message';
  } catch {
    return 'it failed without a message';
  }
}

function utc(date) {
  return `${new Date(date).toISOString().slice(0, 19)}Z`;
}
