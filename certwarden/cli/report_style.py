"""How the report looks: one style sheet, for phones and desktops, in light and dark."""

STYLE = """
:root { color-scheme: light dark; --ground: #f6f7f9; --card: #fff; --ink: #1c2230;
  --soft: #5b6475; --line: #dfe3ea; --good: #1f7a4d; --good-bar: #3fa574; --warn: #8f5a00;
  --bad: #b3261e; --old: #b9c2d0; --ahead: #9bb8e8; --accent: #2457c5; }
@media (prefers-color-scheme: dark) { :root { --ground: #12151c; --card: #1b202a; --ink: #e6e9f0;
  --soft: #9aa4b6; --line: #2d3441; --good: #6fd3a0; --good-bar: #3d9c6d; --warn: #f0b95a;
  --bad: #ff8f86; --old: #465064; --ahead: #4a6ca8; --accent: #8fb2ff; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif;
  overflow-wrap: anywhere; }
main, header, footer { max-width: 1040px; margin: 0 auto; padding: 0 16px; }
header { padding-top: 28px; }
h1 { font-size: 1.6rem; line-height: 1.2; margin: 0 0 4px; }
h2 { font-size: 1.2rem; margin: 36px 0 12px; }
h3 { font-size: 1.05rem; margin: 0 0 8px; display: flex; flex-wrap: wrap; gap: 8px;
  align-items: center; }
p { margin: 0 0 8px; }
.soft, footer, caption { color: var(--soft); font-size: .875rem; }
footer { padding: 32px 16px 40px; }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 12px;
  padding: 16px; margin: 0 0 16px; overflow-x: auto; }
.verdict { border-left: 6px solid var(--good); font-weight: 600; }
.verdict.bad { border-left-color: var(--bad); }
.verdict ul { font-weight: 400; }
.verdict li { margin: 0 0 6px; }
.hint { display: block; color: var(--soft); }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(140px, 1fr)); gap: 12px;
  margin: 16px 0 0; padding: 0; list-style: none; }
.tiles li { background: var(--card); border: 1px solid var(--line); border-radius: 12px;
  padding: 12px 14px; }
.tiles b { display: block; font-size: 1.35rem; line-height: 1.3; }
.badge { font-size: .78rem; font-weight: 600; padding: 1px 9px; border-radius: 99px;
  border: 1px solid currentColor; color: var(--soft); white-space: nowrap; }
.badge.good { color: var(--good); } .badge.warn { color: var(--warn); }
.badge.bad { color: var(--bad); }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 2px 14px; margin: 0 0 10px; }
dt { color: var(--soft); } dd { margin: 0; min-width: 0; }
.strip { display: block; margin: 6px 0; overflow: hidden; }
.strip text.tick { fill: var(--soft); font-size: 11px; text-anchor: middle; }
.strip line.tick { stroke: var(--line); }
.strip line.now { stroke: var(--accent); stroke-width: 2; }
.bar { fill: var(--old); } .bar.current { fill: var(--good-bar); } .bar.gap { fill: var(--bad); }
.bar.ahead { fill: var(--ahead); } .bar.ended { fill: var(--bad); }
.mark { fill: var(--card); stroke: var(--good); stroke-width: 2; }
.mark.failure { fill: none; stroke: var(--bad); stroke-width: 2.5; }
.mark.due { fill: var(--accent); stroke: var(--card); stroke-width: 1; }
.card ul { margin: 8px 0 0; padding-left: 20px; }
.legend { display: flex; flex-wrap: wrap; gap: 2px 16px; margin: 0 0 8px; padding: 0;
  list-style: none; }
.legend li { display: flex; align-items: center; gap: 6px; }
.legend svg { flex: none; overflow: visible; }
table { width: 100%; border-collapse: collapse; font-size: .925rem; }
caption { text-align: left; padding: 0 0 6px; }
th { text-align: left; font-weight: 600; color: var(--soft); }
th, td { padding: 6px 10px 6px 0; border-top: 1px solid var(--line); vertical-align: top;
  overflow-wrap: break-word; }
thead th { border-top: 0; }
code { font: .9em ui-monospace, "DejaVu Sans Mono", Menlo, monospace; }
@media (min-width: 641px) { td.short { white-space: nowrap; } }
@media (max-width: 640px) {
  thead { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
  table, tbody, tr, td, caption { display: block; }
  tr { border-top: 1px solid var(--line); padding: 8px 0; }
  td { border: 0; padding: 1px 0 1px 84px; position: relative; min-height: 1.5em;
    overflow-wrap: anywhere; }
  td::before { content: attr(data-label); position: absolute; left: 0; width: 78px;
    color: var(--soft); font-family: system-ui, sans-serif; }
  dl { grid-template-columns: 1fr; gap: 0; } dd { margin-bottom: 6px; }
}
@media print { body { background: none; } .card { break-inside: avoid; } }
"""
