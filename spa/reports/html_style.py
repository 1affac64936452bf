"""How the HTML report looks; one string, so that the page needs no second file."""

from __future__ import annotations

STYLE = """
:root {
  color-scheme: light dark;
  --page: #f6f7f9; --card: #ffffff; --line: #e2e6ec; --text: #1b2330; --dim: #5d6878;
  --kept: #2f6fde; --gone: #c9dafa; --frozen: #a9b2bf; --good: #147a48; --bad: #b3261e;
  --good-soft: #e2f4ea; --bad-soft: #fbe6e4; --warn: #8a5a00; --warn-soft: #fdf1d8;
  --s0: #2f6fde; --s1: #149a8b; --s2: #8457d6; --s3: #d9822b; --s4: #c4447c; --s5: #6b7685;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #12161c; --card: #1a2029; --line: #2c3542; --text: #e6eaf0; --dim: #97a3b4;
    --kept: #6aa0ff; --gone: #2a3d62; --frozen: #5a6675; --good: #66d19e; --bad: #ff8a80;
    --good-soft: #17352a; --bad-soft: #41211f; --warn: #f0c36a; --warn-soft: #3a2f17;
    --s0: #6aa0ff; --s1: #4fc9b9; --s2: #b296f5; --s3: #f0a95e; --s4: #f084b0; --s5: #97a3b4;
  }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--text);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
main { max-width: 1080px; margin: 0 auto; padding: 28px 20px 56px; }
header { display: flex; flex-wrap: wrap; align-items: baseline; gap: 4px 14px; }
h1 { font-size: 1.55rem; margin: 0; overflow-wrap: anywhere; }
h2 { font-size: 1.02rem; margin: 0 0 12px; }
p { margin: 0 0 10px; } p:last-child { margin-bottom: 0; }
.dim { color: var(--dim); }
.pill { padding: 1px 11px; border-radius: 99px; font-size: .84rem; font-weight: 600;
  background: var(--good-soft); color: var(--good); }
.pill.bad { background: var(--bad-soft); color: var(--bad); }
.pill.plain { background: var(--line); color: var(--dim); }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 12px;
  padding: 18px 20px; margin-top: 16px; overflow-x: auto; }
.note { border-left: 4px solid var(--warn); background: var(--warn-soft); }
.stop { border-left: 4px solid var(--bad); background: var(--bad-soft); }
.note ul { margin: 0; padding-left: 20px; }
.tiles { display: grid; gap: 12px; margin-top: 18px;
  grid-template-columns: repeat(auto-fit, minmax(170px, 1fr)); }
.tile { background: var(--card); border: 1px solid var(--line); border-radius: 12px;
  padding: 14px 16px; }
.tile b { display: block; font-size: 1.32rem; font-weight: 650; line-height: 1.25;
  font-variant-numeric: tabular-nums; }
.tile span { color: var(--dim); font-size: .84rem; display: block; overflow-wrap: anywhere; }
.good { color: var(--good); } .bad { color: var(--bad); }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: 6px 14px 6px 0; border-top: 1px solid var(--line);
  vertical-align: top; overflow-wrap: anywhere; }
tr:first-child > th { border-top: 0; color: var(--dim); font-weight: 600; font-size: .84rem; }
th:last-child, td:last-child { padding-right: 0; }
.number { text-align: right; white-space: nowrap; }
td.number { overflow-wrap: normal; }
code { font: .86em/1.5 ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace;
  overflow-wrap: anywhere; }
.bars { display: grid; gap: 5px 14px; align-items: center; font-size: .87rem;
  grid-template-columns: minmax(90px, 2.4fr) minmax(120px, 5fr) max-content max-content; }
.bars .line { display: contents; } .bars + p { margin-top: 12px; }
.bars .name { overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.bars .value { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.bars svg, .stack svg { display: block; width: 100%; }
.bars svg { height: 13px; } .stack svg { height: 18px; border-radius: 5px; }
.kept { fill: var(--kept); background: var(--kept); }
.gone { fill: var(--gone); background: var(--gone); }
.frozen { fill: var(--frozen); background: var(--frozen); }
.s0 { fill: var(--s0); background: var(--s0); } .s1 { fill: var(--s1); background: var(--s1); }
.s2 { fill: var(--s2); background: var(--s2); } .s3 { fill: var(--s3); background: var(--s3); }
.s4 { fill: var(--s4); background: var(--s4); } .s5 { fill: var(--s5); background: var(--s5); }
.legend { display: flex; flex-wrap: wrap; gap: 4px 18px; font-size: .84rem; color: var(--dim);
  margin: 0 0 12px; }
.stack .legend { margin: 10px 0 0; }
.legend i { display: inline-block; width: 11px; height: 11px; border-radius: 3px;
  margin-right: 6px; vertical-align: -1px; }
td:first-child { min-width: 6.5em; } table + table, details + table { margin-top: 14px; }
details { margin-top: 12px; } summary { cursor: pointer; color: var(--dim); }
.columns { display: grid; gap: 0 16px;
  grid-template-columns: repeat(auto-fit, minmax(320px, 1fr)); }
footer { margin-top: 22px; color: var(--dim); font-size: .84rem; overflow-wrap: anywhere; }
@media (max-width: 560px) {
  .bars { display: block; } .card { padding: 14px; } .number { white-space: normal; }
  .bars .line { display: grid; gap: 2px 12px; margin-bottom: 8px;
    grid-template-columns: 1fr max-content max-content; }
  .bars .bar { order: 1; grid-column: 1 / -1; } }
@media print { body { background: #fff; } .card, .tile { break-inside: avoid; } }
"""
