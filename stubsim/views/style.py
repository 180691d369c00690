"""How pages and pictures look, by day and by night."""

PAGE = """
:root { color-scheme: light dark; --paper: #ffffff; --ink: #1b2330; --muted: #566072; --rule: #d8dee8; --soft: #f3f5f9;
  --link: #1d5bb8; --good: #1a7140; --good-soft: #e3f4e9; --bad: #b3261e; --bad-soft: #fce8e6; --warn: #855300;
  --warn-soft: #fdf0d0; --calm: #475467; --calm-soft: #eaeef4; }
@media (prefers-color-scheme: dark) {
  :root { --paper: #151a22; --ink: #e8ecf3; --muted: #a3aec0; --rule: #333c4a; --soft: #1c232d; --link: #8ab8ff;
    --good: #6fd79a; --good-soft: #14331f; --bad: #ff9a92; --bad-soft: #43201d; --warn: #f0c05a; --warn-soft: #3d2f0e;
    --calm: #bcc6d6; --calm-soft: #29313d; } }
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; scroll-padding-top: 1rem; }
body { margin: 0 auto; max-width: 78rem; padding: 1.5rem clamp(1rem, 4vw, 2.5rem) 3rem; background: var(--paper);
  color: var(--ink); font: 1rem/1.55 system-ui, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
  overflow-wrap: break-word; }
h1, h2, h3 { line-height: 1.25; text-wrap: balance; }
h1 { font-size: clamp(1.25rem, 1rem + 1.6vw, 1.75rem); margin: 0; overflow-wrap: anywhere; }
h2 { font-size: 1.25rem; margin: 0 0 0.75rem; }
h3 { font-size: 1.05rem; margin: 1.5rem 0 0.5rem; }
p { margin: 0.5rem 0; max-width: 75ch; }
a { color: var(--link); }
code, pre { font-family: ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace; font-size: 0.86em; }
code { overflow-wrap: anywhere; }
.note, caption, .command, footer { color: var(--muted); font-size: 0.875rem; }
.outcome { border-left: 0.4rem solid var(--calm); border-radius: 0.4rem; padding: 1rem 1.25rem; margin-bottom: 2rem;
  background: var(--calm-soft); }
.outcome.good { border-color: var(--good); background: var(--good-soft); }
.outcome.bad { border-color: var(--bad); background: var(--bad-soft); }
.outcome.warn { border-color: var(--warn); background: var(--warn-soft); }
.outcome p { margin: 0.4rem 0 0; overflow-wrap: anywhere; max-width: none; }
.outcome .command { margin: 0 0 0.35rem; letter-spacing: 0.04em; }
nav ul { list-style: none; margin: 0 0 2rem; padding: 0; display: flex; flex-wrap: wrap; gap: 0.25rem 1rem;
  font-size: 0.9rem; }
nav a { text-decoration: none; }
nav a:hover { text-decoration: underline; }
main { min-width: 0; }
main > section { border-top: 1px solid var(--rule); padding: 1.5rem 0; }
main > section:first-child { border-top: 0; padding-top: 0; }
.badge { display: inline-block; font-size: 0.8rem; line-height: 1.5; font-weight: 600; padding: 0 0.5em;
  border-radius: 0.75em; background: var(--calm-soft); color: var(--calm); text-decoration: none;
  overflow-wrap: anywhere; }
.badge.good { background: var(--good-soft); color: var(--good); }
.badge.bad { background: var(--bad-soft); color: var(--bad); }
.badge.warn { background: var(--warn-soft); color: var(--warn); }
a.badge { text-decoration: underline; }
.facts { display: grid; grid-template-columns: max-content minmax(0, 1fr); gap: 0.3rem 1.5rem; margin: 0.5rem 0; }
.facts dt { grid-column: 1; color: var(--muted); }
.facts dd { grid-column: 2; margin: 0; overflow-wrap: anywhere; }
.scroll { overflow-x: auto; margin: 0.75rem 0; }
table { border-collapse: collapse; font-size: 0.9rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; padding-bottom: 0.35rem; }
th, td { text-align: left; vertical-align: top; padding: 0.35rem 1.25rem 0.35rem 0;
  border-bottom: 1px solid var(--rule); }
th:last-child, td:last-child { padding-right: 0; }
thead th { color: var(--muted); font-weight: 600; font-size: 0.8rem; white-space: nowrap; }
tbody th { font-weight: 600; }
.right { text-align: right; }
td code { display: inline-block; max-width: 66ch; }
td .digest { min-width: 16ch; }
td .long.digest { min-width: 34ch; }
.nowrap, td .badge { white-space: nowrap; }
caption.hidden { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
pre { margin: 0.5rem 0; padding: 0.6rem 0.8rem; background: var(--soft); border-radius: 0.35rem; overflow-x: auto; }
pre.wrap { white-space: pre-wrap; overflow-wrap: anywhere; }
.line { display: block; }
details { margin: 0.5rem 0; }
summary { cursor: pointer; color: var(--link); }
.chain { list-style: none; display: flex; flex-wrap: wrap; gap: 0.75rem 2.25rem; margin: 0; padding: 0; }
.chain li { position: relative; flex: 1 1 11rem; padding: 0.6rem 0.9rem; border: 1px solid var(--rule);
  border-radius: 0.5rem; background: var(--soft); overflow-wrap: anywhere; }
.chain li + li::before { content: "\\2192"; position: absolute; left: -1.7rem; top: 0.5rem; color: var(--muted); }
@media (max-width: 45rem) {
  .chain { flex-direction: column; gap: 1.75rem; }
  .chain li { flex: none; }
  .chain li + li::before { content: "\\2193"; left: 1rem; top: -1.65rem; } }
.chain strong span { display: inline-block; max-width: 100%; }
.chain dl { margin: 0.25rem 0 0; }
.chain dt { color: var(--muted); font-size: 0.85em; margin-top: 0.35rem; }
.chain dd { margin: 0; }
.tree, .tree ul { list-style: none; margin: 0; padding: 0; }
.tree ul { margin-left: 0.2rem; padding-left: 1.1rem; border-left: 2px solid var(--rule); }
.tree li > div { position: relative; padding: 0.15rem 0 0.15rem 1.25em; overflow-wrap: anywhere; }
.tree li > div::before { content: ""; position: absolute; left: 0; top: 0.65em; width: 0.6em; height: 0.6em;
  border-radius: 50%; background: var(--rule); }
.tree details { margin: 0; }
.tree details .tree { margin-top: 0.25rem; }
.tree li.good > div::before { background: var(--good); }
.tree li.bad > div::before { background: var(--bad); }
.tree li.warn > div::before { background: var(--warn); }
.tree li.calm > div { color: var(--muted); }
figure { margin: 0.5rem 0; overflow-x: auto; }
figure svg { display: block; max-width: 100%; min-width: 20rem; height: auto; }
figcaption { color: var(--muted); font-size: 0.875rem; }
footer { border-top: 1px solid var(--rule); padding-top: 1rem; }
:focus-visible { outline: 2px solid var(--link); outline-offset: 2px; }
@media (min-width: 68rem) {
  td:last-child > .digest:not(.long) { white-space: nowrap; }
  .columns { display: grid; grid-template-columns: 11.5rem minmax(0, 1fr); gap: 2.5rem; }
  nav ul { position: sticky; top: 1.5rem; display: block; }
  nav li { padding: 0.2rem 0; } }
@media (max-width: 36rem) {
  .facts { display: block; }
  .facts dt { margin-top: 0.6rem; font-size: 0.875rem; }
  .scroll { overflow: visible; }
  table, caption, tbody, tr, tbody th, td { display: block; }
  thead { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
  tr { border-bottom: 1px solid var(--rule); padding: 0.4rem 0; }
  th, td, th:last-child, td:last-child, .right { position: relative; border: 0; padding: 0.1rem 0 0.1rem 6.5rem;
    text-align: left; }
  td .nowrap { white-space: normal; }
  tbody th::before, td::before { content: attr(data-label); position: absolute; left: 0; width: 6rem;
    color: var(--muted); font-weight: 400; }
  td:empty { display: none; } }
@media print {
  body { max-width: none; padding: 0; font-size: 0.8rem; }
  nav { display: none; }
  .scroll, figure, pre { overflow: visible; }
  pre { white-space: pre-wrap; }
  h1, h2, h3, caption, thead, summary, dt { break-after: avoid; }
  section, figure, tr, footer { break-inside: avoid; }
  footer { break-before: avoid; }
  main > section { break-inside: auto; }
  details::details-content { content-visibility: visible; block-size: auto; } }
"""

# A picture is also seen without a page around it, so it brings all it needs.
MEMORY_MAP = """
.memory-map { --paper: #ffffff; --ink: #1b2330; --muted: #566072; --rule: #8d97a8; --ram: #e9edf3; --rom: #f6e3cf;
  --code: #d5e4fb; --code-edge: #2f6bc9; --data: #d4efdc; --data-edge: #23804a; --boot: #fbebc6; --boot-edge: #a86a05;
  --runtime: #ecdcfa; --runtime-edge: #7a43b6; --plain: #ffffff; --plain-edge: #566072; background: #ffffff;
  font-family: system-ui, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
@media (prefers-color-scheme: dark) {
  .memory-map { --paper: #151a22; --ink: #e8ecf3; --muted: #a3aec0; --rule: #69748a; --ram: #252c38; --rom: #46331e;
    --code: #1b3a66; --code-edge: #78a9f5; --data: #174630; --data-edge: #5fc98a; --boot: #4b3a10; --boot-edge: #e5b04a;
    --runtime: #3e2a58; --runtime-edge: #bd93ee; --plain: #2e3643; --plain-edge: #a3aec0; background: #151a22; } }
.memory-map .paper { fill: var(--paper); }
.memory-map .ram { fill: var(--ram); }
.memory-map .rom { fill: var(--rom); }
.memory-map .outline { fill: none; stroke: var(--rule); }
.memory-map .outline.none { stroke-dasharray: 4 3; }
.memory-map .tear { fill: var(--paper); stroke: var(--rule); }
.memory-map .tick { stroke: var(--rule); }
.memory-map text { fill: var(--ink); font-size: 11px; }
.memory-map .heading { font-size: 15px; font-weight: 600; }
.memory-map .name { font-size: 13px; font-weight: 600; }
.memory-map .gpa { font-family: ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace; }
.memory-map .stretch, .memory-map .note, .memory-map .mark { fill: var(--muted); }
.memory-map .code { fill: var(--code); stroke: var(--code-edge); }
.memory-map .data { fill: var(--data); stroke: var(--data-edge); }
.memory-map .boot { fill: var(--boot); stroke: var(--boot-edge); }
.memory-map .runtime { fill: var(--runtime); stroke: var(--runtime-edge); }
.memory-map .plain { fill: var(--plain); stroke: var(--plain-edge); }
.memory-map .hatch { stroke: var(--ink); stroke-opacity: 0.5; }
"""

# By number of the series; the last is for all that are left.
FLEET_CHART = """
.fleet-chart { --ink: #1b2330; --muted: #566072; --s0: #2f6bc9; --s1: #23804a; --s2: #a86a05; --s3: #7a43b6;
  --s4: #b3261e; --s5: #0b7285; --s6: #566072;
  font-family: system-ui, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
@media (prefers-color-scheme: dark) {
  .fleet-chart { --ink: #e8ecf3; --muted: #a3aec0; --s0: #78a9f5; --s1: #5fc98a; --s2: #e5b04a; --s3: #bd93ee;
    --s4: #ff9a92; --s5: #66c7d9; --s6: #a3aec0; } }
.fleet-chart text { fill: var(--ink); font-size: 12px; }
.fleet-chart .note { fill: var(--muted); }
.fleet-chart .s0 { fill: var(--s0); }
.fleet-chart .s1 { fill: var(--s1); }
.fleet-chart .s2 { fill: var(--s2); }
.fleet-chart .s3 { fill: var(--s3); }
.fleet-chart .s4 { fill: var(--s4); }
.fleet-chart .s5 { fill: var(--s5); }
.fleet-chart .s6 { fill: var(--s6); }
"""
