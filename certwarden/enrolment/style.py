"""How the page looks: one style sheet, for phones in the sun and for desktops at night.

Text has at least the contrast 7:1, and what is tapped is at least 48 pixels high.
"""

STYLE = """
:root { color-scheme: light dark; --ground: #f6f7f9; --card: #fff; --ink: #1c2230;
  --soft: #444d5e; --line: #dfe3ea; --edge: #6b7486; --accent: #1d48a8; --on-accent: #fff;
  --tint: #e9effb; --bad: #93201a; --good: #14593a; }
@media (prefers-color-scheme: dark) { :root { --ground: #12151c; --card: #1b202a; --ink: #e9ecf2;
  --soft: #b9c1cf; --line: #2d3441; --edge: #8390a6; --accent: #a3c0ff; --on-accent: #0c1424;
  --tint: #222c40; --bad: #ffb0a8; --good: #8fe0b8; } }
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; text-size-adjust: 100%; }
body { margin: 0; background: var(--ground); color: var(--ink);
  font: 1.0625rem/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif;
  overflow-wrap: break-word; }
main { max-width: 36rem; margin: 0 auto; padding: 12px 16px 40px; }
[hidden] { display: none !important; }
.apart { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
.bar { display: flex; align-items: center; justify-content: space-between; gap: 12px; }
svg { fill: none; stroke: currentColor; stroke-width: 2.5; stroke-linecap: round;
  stroke-linejoin: round; }
.dot { fill: currentColor; stroke: none; } .dots { stroke-width: 4.5; }
.hot { color: var(--accent); stroke: currentColor; }
.bar svg { width: 52px; height: 52px; margin-left: -7px; color: var(--accent); }
h1 { font-size: 1.6rem; line-height: 1.2; margin: 6px 0 8px; text-wrap: balance; }
h2 { font-size: 1.2rem; line-height: 1.3; margin: 0 0 8px; }
p { margin: 0 0 12px; }
.soft { color: var(--soft); font-size: 1rem; }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 16px;
  padding: 16px; margin: 16px 0 0; }
.card > :last-child { margin-bottom: 0; }
.fields { display: grid; gap: 10px; margin: 0 0 14px; }
label { display: block; color: var(--soft); font-size: 1rem; margin: 0 0 2px; }
button, select { font: inherit; color: inherit; min-height: 48px; border-radius: 12px;
  border: 1px solid var(--edge); background: var(--card); padding: 8px 14px; max-width: 100%; }
select { width: 100%; min-width: 0; text-overflow: ellipsis; }
button { cursor: pointer; font-weight: 600; }
button.quiet { border-color: transparent; background: none; color: var(--accent);
  text-decoration: underline; text-underline-offset: .2em; padding: 8px 4px; }
button.main { width: 100%; min-height: 56px; font-size: 1.15rem; border-color: var(--accent);
  background: var(--accent); color: var(--on-accent); }
button.main:disabled { background: var(--tint); border-color: var(--line); color: var(--soft);
  font-size: 1.0625rem;  cursor: default; }
form > .soft { margin-top: 10px; }
.trouble { border-left: 6px solid var(--bad); font-weight: 600; }
.trouble h1 { margin-top: 0; } h1 + p { font-weight: 400; }
.password { font: 600 1.35rem/1.7 ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace;
  background: var(--tint); border-radius: 12px; padding: 10px 8px; text-align: center;
  user-select: all; -webkit-user-select: all; }
.password span { display: inline-block; }
.row { display: flex; flex-wrap: wrap; align-items: center; gap: 4px 14px; margin: 0 0 12px; }
.told { color: var(--good); font-weight: 600; }
.told:empty { display: none; }
ol { list-style: none; margin: 0; padding: 0; counter-reset: step; }
ol li { counter-increment: step; display: grid; grid-template-columns: 52px minmax(0, 1fr);
  gap: 4px 14px; align-items: start; padding: 14px 0; border-top: 1px solid var(--line); }
ol li:first-child { border-top: 0; padding-top: 4px; }
ol li:last-child { padding-bottom: 0; }
ol li svg { width: 52px; height: 52px; padding: 5px; border-radius: 12px; background: var(--tint); }
ol li p { margin: 0; -webkit-hyphens: auto; hyphens: auto; }
b { -webkit-hyphens: manual; hyphens: manual; }
ol li p::before { content: counter(step) ". "; font-weight: 700; color: var(--accent); }
details { margin: 16px 0 0; }
summary { min-height: 48px; padding: 11px 4px; cursor: pointer; color: var(--accent);
  font-weight: 600; }
details p { padding: 0 4px; }
a { color: var(--accent); }
:focus-visible { outline: 3px solid var(--accent); outline-offset: 3px; border-radius: 12px; }
h2:focus { outline: none; }
@media (min-width: 48rem) { main { padding-top: 32px; } .card { padding: 24px; } }
@media (prefers-reduced-motion: no-preference) { html { scroll-behavior: smooth; } }
@media print { body { background: none; } .card { break-inside: avoid; } }
"""
