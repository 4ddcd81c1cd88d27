"""What people write into their settings.js, and what certwarden's line is put in place of there."""

from dataclasses import dataclass

MODULE = "/opt/certwarden/targets/node_red/hot.js"
LINE = f'https: require("{MODULE}")({{ live: "/var/lib/certwarden/live/node-red" }})'
IDENTITY = 'httpNodeMiddleware: require("/opt/certwarden/targets/node_red/identity.js")'


@dataclass(frozen=True)
class Shape:
    """A settings.js, what of it the line takes the place of, and the rest of what it exports."""

    source: bytes
    replaced: bytes = b""
    exports: tuple[str, ...] = ("uiPort",)


_OLD = b"{ key: 1, cert: 2 }"

SHAPES = {
    "stock": Shape(b"module.exports = {\n    uiPort: 1880,\n};\n"),
    "no trailing comma": Shape(b"module.exports = {\n    uiPort: 1880\n}"),
    "crlf": Shape(b"// x\r\nmodule.exports = {\r\n    uiPort: 1880,\r\n};\r\n"),
    "tabs": Shape(b"module.exports = {\n\tuiPort: 1880,\n};\n"),
    "one line": Shape(b"module.exports = { uiPort: 1880 };"),
    "no space": Shape(b"module.exports={uiPort:1880}"),
    "empty": Shape(b"module.exports = {};", exports=()),
    "empty on lines": Shape(b"module.exports = {\n};", exports=()),
    "only comments": Shape(
        b"module.exports = { // mine\n  // https: {},\n  /* uiPort: 1 */\n}", exports=()
    ),
    "comment at the brace": Shape(b"module.exports = { // my settings\n  uiPort: 1880 }"),
    "comment on one line": Shape(b"module.exports = { /* { */ uiPort: 1880 /* } */ }"),
    "comments between": Shape(
        b"module /* a */ . /* b */ exports = /* { https: 1 */ {\n// https: {}\nuiPort: 1880 }",
    ),
    "commented-out https": Shape(
        b"module.exports = {\n    uiPort: 1880,\n    //https: {\n    //  key: 1\n    //},\n}"
    ),
    "object": Shape(
        b"module.exports = {\n    https: { key: 1, cert: 2 },\n    uiPort: 1880 };",
        b"https: " + _OLD,
    ),
    "object, last": Shape(
        b"module.exports = { uiPort: 1880, https: { key: 1, cert: 2 } };", b"https: " + _OLD
    ),
    "old https that would throw": Shape(
        b"const fs = require('fs');\nmodule.exports = {\n  uiPort: 1880,\n"
        b"  https: {\n    key: fs.readFileSync('/no/such/privkey.pem'),\n  },\n};",
        b"https: {\n    key: fs.readFileSync('/no/such/privkey.pem'),\n  }",
    ),
    "function": Shape(
        b"module.exports = {\n  https: function() { return { key: 1 } },\n  uiPort: 1880,\n}",
        b"https: function() { return { key: 1 } }",
    ),
    "arrow": Shape(
        b"module.exports = { uiPort: 1880, https: () => ({ a: [1, { b: '}' }] }) }",
        b"https: () => ({ a: [1, { b: '}' }] })",
    ),
    "async arrow": Shape(
        b"module.exports = { https: async () => { return {} }, uiPort: 1880 }",
        b"https: async () => { return {} }",
    ),
    "method": Shape(
        b"module.exports = { https() { return {} }, uiPort: 1880 }", b"https() { return {} }"
    ),
    "async method": Shape(
        b"module.exports = { async https() { return {} }, uiPort: 1880 }",
        b"async https() { return {} }",
    ),
    "getter": Shape(
        b"module.exports = { get https() { return {} }, uiPort: 1880 }",
        b"get https() { return {} }",
    ),
    "quoted": Shape(b"module.exports = { 'https': null, 'uiPort': 1880 }", b"'https': null"),
    "doubly quoted": Shape(b'module.exports = { "uiPort": 1, "https": {} }', b'"https": {}'),
    "computed": Shape(b"module.exports = { uiPort: 1, ['https']: {} }", b"['https']: {}"),
    "shorthand": Shape(
        b"const https = {};\nmodule.exports = { uiPort: 1880, https, };", b"https", ("uiPort",)
    ),
    "https module beside it": Shape(
        b"const https = require('https');\nmodule.exports = {\n  uiPort: https ? 1 : 2,\n};"
    ),
    "promise": Shape(
        b"module.exports = { https: (async () => ({}))(), uiPort: 1 }",
        b"https: (async () => ({}))()",
    ),
    "const": Shape(b"const settings = {\n  uiPort: 1880,\n};\n\nmodule.exports = settings;\n"),
    "var, exported first": Shape(
        b"var s = { uiPort: 1880 }; module.exports = s; s.x = 1;", exports=("uiPort", "x")
    ),
    "let, with https": Shape(
        b"let s = { uiPort: 1880, https: 0 };\nmodule.exports = s", b"https: 0"
    ),
    "chained": Shape(b"const s = module.exports = { uiPort: 1880 };"),
    "chained exports": Shape(b"exports = module.exports = { uiPort: 1880 };"),
    "exports chained": Shape(b"module.exports = exports = ({ uiPort: 1880 });"),
    "subscript": Shape(b"module['exports'] = { uiPort: 1880 };"),
    "spread": Shape(b"const b = { https: 1, uiPort: 2 };\nmodule.exports = { ...b };"),
    "spread on lines": Shape(
        b"const b = { https: 1 };\nmodule.exports = {\n  ...b, // base\n  uiPort: 2,\n};"
    ),
    "spread after https": Shape(
        b"const b = { uiPort: 1 };\nmodule.exports = { https: 1, ...b };", b"https: 1"
    ),
    "assign": Shape(
        b"const b = { https: 1 };\nmodule.exports = Object.assign({}, b, {\n  uiPort: 1880\n});"
    ),
    "freeze": Shape(b"module.exports = Object.freeze({ uiPort: 1880 });"),
    "byte order mark": Shape(b"\xef\xbb\xbfmodule.exports = { uiPort: 1880 };"),
    "hash bang": Shape(b"#!/usr/bin/env node\nmodule.exports = { uiPort: 1880 };"),
    "strict": Shape(b"'use strict';\n\nmodule.exports = {\n  uiPort: 1880,\n};"),
    "latin-1": Shape(b"module.exports = {\n  // f\xfcr mich\n  uiPort: 1880, // \xe9\n};"),
    "new syntax": Shape(
        b"class A { #p = 1; get p() { return this.#p ?? 2; } }\n"
        b"module.exports = { uiPort: new A()?.p, n: 1_000n, r: /[/}]/u, t: `}${'{'}` };",
        exports=("uiPort", "n", "r", "t"),
    ),
    "a brace in everything": Shape(
        b"module.exports = { uiPort: '{', f() { return `{` }, g: /{/ , /* { */ h: 1 }",
        exports=("uiPort", "f", "g", "h"),
    ),
    "old middleware": Shape(
        b"module.exports = {\n    uiPort: 1,\n    httpNodeMiddleware: (a, b, c) => c(),\n};",
        exports=("uiPort", "httpNodeMiddleware"),
    ),
}

# Not changed, and why.
REFUSED = {
    "syntax error": (b"module.exports = {\n  uiPort: 1880\n  https: 1\n};", "cannot be parsed"),
    "unfinished": (b"module.exports = {", "cannot be parsed"),
    "empty file": (b"", "does not assign module.exports"),
    "function call": (b"function fn() { return {} }\nmodule.exports = fn();", "not written out"),
    "function": (b"module.exports = () => ({});", "not written out"),
    "another file": (b"module.exports = require('./real-settings');", "not written out"),
    "new": (b"class S {}\nmodule.exports = new S();", "not written out"),
    "choice": (b"module.exports = process.env.A ? {} : {};", "not written out"),
    "or": (b"module.exports = global.x || {};", "not written out"),
    "await": (b"module.exports = Promise.resolve({ uiPort: 1 });", "not written out"),
    "conditional": (b"if (process.env.A) { module.exports = {}; }", "conditionally"),
    "in a function": (b"(function () { module.exports = {}; })();", "conditionally"),
    "twice": (b"module.exports = {};\nmodule.exports = {};", r"twice \(line 2\)"),
    "exports": (b"exports.uiPort = 1880; exports.https = {};", "does not assign"),
    "parts": (b"module.exports = { uiPort: 1 };\nmodule.exports.https = {};", "by a statement"),
    "parts by name": (b"const s = {}; s['https'] = {}; module.exports = s;", "by a statement"),
    "bound twice": (b"let s = {}; s = { a: 1 }; module.exports = s;", "not bound once"),
    "bound elsewhere": (b"var s; { s = {} } module.exports = s;", "not bound once"),
    "not bound": (b"module.exports = settings;", "not bound once"),
    "bound inside": (b"{ var s = {}; } module.exports = s;", "not bound once"),
    "bound to nothing": (b"let s; module.exports = s;", "not written out"),
    "twice https": (b"module.exports = { https: 1, uiPort: 1, https() {} };", "sets `https` twice"),
    "module": (b"export default { uiPort: 1880 };", "ES module"),
    "imports": (b"import fs from 'fs';\nmodule.exports = {};", "ES module"),
    "TypeScript": (b"const s: Settings = { uiPort: 1 };\nmodule.exports = s;", "cannot be parsed"),
    "JSON": (b'{ "uiPort": 1880 }', "cannot be parsed|does not assign"),
    "YAML": (b"uiPort: 1880\nhttps:\n  - key\n", "cannot be parsed|does not assign"),
    "binary": (bytes(range(256)), "cannot be parsed"),
}

# Where only running it shows that the line has no effect.
OVERRULED = {
    "helper": b"const f = (s) => { s.https = {}; };\nmodule.exports = {};\nf(module.exports);",
    "spread later": b"const b = { https: 1 };\nmodule.exports = { https: 2, ...b };",
    "computed later": b"const n = 'ht' + 'tps';\nmodule.exports = { uiPort: 1, [n]: {} };",
    "escaped": b"module.exports = { uiPort: 1, h\\u0074tps: {} };",
    "defined later": b"const s = {};\nmodule.exports = s;\n"
    b"Object.defineProperty(s, 'https', { value: {} });",
}
