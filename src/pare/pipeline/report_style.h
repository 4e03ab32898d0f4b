// The style sheet of the report page: one column on a phone, quiet colours, light and dark.
//
// Text on its background has a contrast of at least 4.5 : 1, marks of at least 3 : 1, in both schemes. The hues of the
// series stay apart for the colour-blind, and each has a shape of its own (svg.h).
#pragma once

#include <string_view>

namespace pare {

inline constexpr std::string_view kReportStyle = R"css(
:root {
  color-scheme: light dark;
  --paper: #fbfaf7; --card: #ffffff; --ink: #1c2429; --soft: #56626b; --line: #e3e0d8; --track: #efece5;
  --accent: #0b6b6b; --good: #23713f; --bad: #a8321f; --warn-ground: #fdf3df; --warn-line: #d9a43b; --bad-ground: #fbe9e4;
  --s0: #2a62b5; --s1: #0e7c7a; --s2: #7d4fb3; --s3: #4f5b66; --s4: #b25a00; --s5: #bd3456; --s6: #687a10; --s7: #8a5a3c;
  --t0: #9aa5ab; --t1: #2a62b5; --t2: #b25a00; --t3: #8d9479; --t4: #c9c4b8;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #14181b; --card: #1b2125; --ink: #e7e9e8; --soft: #a3aeb5; --line: #30383d; --track: #262d32;
    --accent: #5cc4c0; --good: #79c795; --bad: #f08e78; --warn-ground: #332a16; --warn-line: #b98a2c; --bad-ground: #3a211c;
    --s0: #7fb0f5; --s1: #4fc3bd; --s2: #bd9bec; --s3: #b3bec6; --s4: #f0a04e; --s5: #f2849d; --s6: #b9c95a; --s7: #d3a482;
    --t0: #7d8a91; --t1: #7fb0f5; --t2: #f0a04e; --t3: #9aa283; --t4: #4a5257;
  }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; text-size-adjust: 100%; }
body {
  margin: 0; background: var(--paper); color: var(--ink); overflow-wrap: anywhere;
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", "Noto Sans", "DejaVu Sans", sans-serif;
}
main { max-width: 66rem; margin: 0 auto; padding: 2.5rem 1.25rem 4rem; }
h1, h2, h3 { line-height: 1.2; text-wrap: balance; letter-spacing: -0.012em; }
h1 { font-size: clamp(1.6rem, 1.1rem + 2.4vw, 2.5rem); margin: 0 0 .3rem; font-weight: 680; }
h2 { font-size: 1.2rem; margin: 0 0 .25rem; font-weight: 650; }
h3 { font-size: .95rem; margin: 1.5rem 0 .4rem; font-weight: 650; }
p { margin: .4rem 0; max-width: 44rem; }
.eyebrow { font-size: .8rem; letter-spacing: .09em; text-transform: uppercase; color: var(--accent); font-weight: 650; margin: 0 0 .5rem; }
.lead, .note { color: var(--soft); }
.lead { font-size: 1.05rem; margin-bottom: 1.5rem; }
.note { font-size: .9rem; }
section { margin-top: 1.25rem; padding: 1.4rem 1.5rem 1.5rem; background: var(--card); border: 1px solid var(--line); border-radius: 12px; }
.banner { border-radius: 10px; padding: .8rem 1.1rem; margin: .8rem 0; border: 1px solid var(--line); border-left: 5px solid var(--good); background: var(--card); }
.banner.bad { border-left-color: var(--bad); background: var(--bad-ground); }
.banner.warn { border-left-color: var(--warn-line); background: var(--warn-ground); }
.banner b { display: block; }
.banner ul { margin: .3rem 0 0; padding-left: 1.2rem; }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(10.5rem, 1fr)); gap: 1px; background: var(--line); border: 1px solid var(--line); border-radius: 12px; overflow: hidden; margin: 1.25rem 0; }
.figure { background: var(--card); padding: 1rem 1.15rem 1.05rem; }
.figure .what { color: var(--soft); font-size: .84rem; }
.figure .value { font-size: 1.85rem; font-weight: 660; letter-spacing: -.02em; line-height: 1.25; font-variant-numeric: tabular-nums; white-space: nowrap; }
.figure .value small { font-size: 1rem; font-weight: 500; letter-spacing: 0; color: var(--soft); }
.figure .was { color: var(--soft); font-size: .84rem; font-variant-numeric: tabular-nums; }
.good { color: var(--good); } .bad-text { color: var(--bad); }
.two { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 22rem), 1fr)); gap: 0 2.5rem; }
.two > div { min-width: 0; }
svg { display: block; width: 100%; overflow: visible; }
svg text { font-size: 12px; fill: var(--soft); font-variant-numeric: tabular-nums; }
svg text.name { fill: var(--ink); font-weight: 650; stroke: var(--card); stroke-width: 4; paint-order: stroke; }
svg.defs { position: absolute; }
svg.mark { display: inline-block; width: 12px; vertical-align: -1px; flex: none; }
.s0 { fill: var(--s0); stroke: var(--s0); } .s1 { fill: var(--s1); stroke: var(--s1); } .s2 { fill: var(--s2); stroke: var(--s2); }
.s3 { fill: var(--s3); stroke: var(--s3); } .s4 { fill: var(--s4); stroke: var(--s4); } .s5 { fill: var(--s5); stroke: var(--s5); }
.s6 { fill: var(--s6); stroke: var(--s6); } .s7 { fill: var(--s7); stroke: var(--s7); }
use, rect { stroke-width: 0; }
.t0 { fill: var(--t0); stroke: var(--t0); } .t1 { fill: var(--t1); stroke: var(--t1); } .t2 { fill: var(--t2); stroke: var(--t2); }
.t3 { fill: var(--t3); stroke: var(--t3); } .t4 { fill: var(--t4); stroke: var(--t4); }
.grid { stroke: var(--line); } .axis { stroke: var(--soft); } .join { stroke-opacity: .38; } .whisker line { stroke-width: 2; }
.front { stroke: var(--accent); stroke-dasharray: 5 4; stroke-width: 1.5; }
.track { fill: var(--track); } .notch { stroke: var(--ink); stroke-width: 2; }
.plot { margin: 1rem 0 .5rem; }
.plot figcaption { color: var(--soft); font-size: .8rem; }
.plot .xtitle { text-align: center; margin-top: .1rem; }
.plot .ytitle { margin-bottom: .2rem; }
.plane { display: flex; } .plane .yaxis { width: 3.6rem; flex: none; } .plane .field { flex: 1; min-width: 0; }
.legend { list-style: none; display: flex; flex-wrap: wrap; gap: .2rem 1.1rem; padding: 0; margin: .6rem 0 0; font-size: .86rem; color: var(--soft); }
.legend li { display: flex; align-items: center; gap: .4rem; }
.bars { display: grid; grid-template-columns: max-content minmax(3rem, 1fr) max-content; gap: .35rem .8rem; align-items: center; margin: .8rem 0 .4rem; font-size: .88rem; }
.barwords { font-variant-numeric: tabular-nums; text-align: right; }
.barlabel { color: var(--soft); }
.stackhead { display: flex; justify-content: space-between; gap: 1rem; margin: .8rem 0 .25rem; font-size: .92rem; font-variant-numeric: tabular-nums; }
.stack rect { stroke: var(--card); stroke-width: 1.5; }
.scroll { overflow-x: auto; margin: .8rem -.25rem 0; padding: 0 .25rem .25rem; }
table { border-collapse: collapse; font-size: .86rem; font-variant-numeric: tabular-nums; width: 100%; overflow-wrap: normal; }
th { text-align: left; font-weight: 600; color: var(--soft); vertical-align: bottom; }
th, td { padding: .38rem .8rem .38rem 0; border-bottom: 1px solid var(--line); }
td { vertical-align: top; } tr:last-child td { border-bottom: 0; }
td.n, th.n { text-align: right; } td.n { white-space: nowrap; }
th:last-child, td:last-child { padding-right: 0; }
table.wrap { overflow-wrap: anywhere; } table.wrap td { min-width: 5.5rem; }
td.name { white-space: nowrap; }
td.best { font-weight: 700; color: var(--good); }
dl { display: grid; grid-template-columns: max-content minmax(0, 1fr); gap: .25rem 1.1rem; margin: .6rem 0; font-size: .9rem; font-variant-numeric: tabular-nums; }
dt { color: var(--soft); } dd { margin: 0; }
pre, code, .mono { font-family: ui-monospace, "SF Mono", "Cascadia Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace; font-size: .84rem; }
pre { background: var(--track); border-radius: 8px; padding: .8rem 1rem; margin: .6rem 0; overflow-x: auto; line-height: 1.5; }
pre.wrap { white-space: pre-wrap; overflow-wrap: anywhere; }
blockquote { margin: .5rem 0; padding: .8rem 1rem; border-left: 3px solid var(--line); background: var(--track); border-radius: 0 8px 8px 0; white-space: pre-wrap; }
blockquote .prompt { color: var(--soft); }
blockquote.after { border-left-color: var(--accent); }
details > summary { cursor: pointer; color: var(--accent); font-weight: 600; padding: .35rem 0; }
footer { color: var(--soft); font-size: .84rem; margin-top: 2rem; }
@media (max-width: 34rem) {
  main { padding: 1.6rem .9rem 3rem; } section { padding: 1.1rem 1rem 1.2rem; }
  .figures { grid-template-columns: repeat(2, 1fr); } .figure { padding: .8rem .85rem; } .figure .value { font-size: 1.4rem; }
  .figure:first-child { grid-column: 1 / -1; }
  .plane .yaxis { width: 3.1rem; } dl { grid-template-columns: 1fr; gap: 0; } dd { margin-bottom: .45rem; }
}
@media print { body { background: #fff; } section { break-inside: avoid; } }
)css";

}  // namespace pare
