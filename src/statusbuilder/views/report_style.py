"""How the report looks: light or dark as the reader's system is, wide as a table, narrow as a list."""

from typing import Final

from ..core.model.values import TaskStatus

_STYLE: Final = """
:root { color-scheme: light dark; --bg: #fbfbfa; --card: #fff; --fg: #1c2024; --soft: #5b636b; --line: #dfe2e5;
  --good: #1a7f4b; --bad: #c2261f; --run: #1f62c4; --skip: #6b7280; --stop: #8a3ab9; --track: #eceef0; }
@media (prefers-color-scheme: dark) { :root { --bg: #14171a; --card: #1b1f23; --fg: #e6e8ea; --soft: #a3abb3;
  --line: #32383e; --good: #4cc38a; --bad: #ff7b72; --run: #6cacff; --skip: #9aa3ad; --stop: #d29cf2;
  --track: #262b30; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.25rem; max-width: 80rem; background: var(--bg); color: var(--fg);
  font: 0.95rem/1.45 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.5rem; line-height: 1.25; margin: 0 0 .5rem; } h2 { font-size: 1.1rem; margin: 2rem 0 .6rem; }
a { color: var(--run); } nav { margin-bottom: .75rem; } [hidden] { display: none; } .soft { color: var(--soft); }
.badge { display: inline-block; padding: .05rem .6rem; border: 1px solid; border-radius: 1rem; font-size: .8rem;
  font-weight: 600; vertical-align: middle; white-space: nowrap; }
.COMPLETED { --tone: var(--good); } .FAILED { --tone: var(--bad); } .IN_PROGRESS { --tone: var(--run); }
.SKIPPED, .PENDING { --tone: var(--skip); } .CANCELLED { --tone: var(--stop); }
.badge, .status { color: var(--tone); }
dl { display: flex; flex-wrap: wrap; gap: .5rem 2rem; margin: .75rem 0; }
dt { color: var(--soft); font-size: .8rem; } dd { margin: 0; font-variant-numeric: tabular-nums; }
.meter { display: flex; height: .6rem; border-radius: .3rem; overflow: hidden; background: var(--track); }
.meter span { background: var(--tone); min-width: 2px; } .meter ~ details { margin-top: .75rem; }
.error { border-left: .25rem solid var(--bad); background: var(--card); padding: .6rem .9rem; margin: 1rem 0;
  white-space: pre-wrap; }
ol.failures { padding-left: 2rem; } ol.failures li { margin: .25rem 0; }
.pick { position: absolute; opacity: 0; }
.picks { margin: 0 0 .75rem; display: flex; flex-wrap: wrap; gap: .4rem; }
.picks label { border: 1px solid var(--line); border-radius: 1rem; padding: .2rem .8rem; cursor: pointer;
  background: var(--card); }
%PICKS%
table, thead, tbody { display: block; width: 100%; }
table { border: 1px solid var(--line); border-radius: .5rem; background: var(--card); overflow: hidden; }
tbody { content-visibility: auto; contain-intrinsic-size: auto 220rem; }
tr { display: grid; grid-template-columns: minmax(9rem, 3fr) 7.5rem 5.5rem 6rem minmax(8rem, 5fr); gap: 0 .75rem;
  padding: .3rem .75rem; border-top: 1px solid var(--line); align-items: start; }
.list tr { grid-template-columns: minmax(9rem, 3fr) 8.75rem 7rem 6rem minmax(8rem, 5fr); }
thead tr { border-top: 0; color: var(--soft); font-size: .8rem; }
th { text-align: left; font-weight: 600; } tbody th { font-weight: 500; } th, td { padding: 0; min-width: 0; }
.num { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.lane { position: relative; height: 1.45em; }
.rest { opacity: .35; }
.task th { padding-left: calc(var(--depth, 0) * 1.1rem); }
.lane i { position: absolute; top: .3em; bottom: .3em; min-width: 3px;
  left: min(calc(100% * var(--a) / var(--len)), 100% - 3px);
  width: calc(100% * (var(--b, var(--len)) - var(--a)) / var(--len)); border-radius: 3px; background: var(--tone); }
.lane i.FAILED { background: repeating-linear-gradient(-45deg, var(--bad) 0 4px, transparent 4px 6px);
  border: 1px solid var(--bad); }
.lane i.IN_PROGRESS { border-radius: 3px 0 0 3px; }
.lane b { display: block; height: 100%; border-radius: 3px 0 0 3px;
  background: color-mix(in srgb, var(--fg) 35%, var(--tone)); }
.lane .queued { --tone: var(--line); }
.axis { display: flex; justify-content: space-between; font-variant-numeric: tabular-nums; font-weight: 400; }
.note { font-size: .85rem; color: var(--soft); white-space: pre-wrap; } .FAILED .note { color: var(--bad); }
details { font-size: .85rem; } summary { cursor: pointer; color: var(--soft); }
pre { margin: .25rem 0 .5rem; padding: .5rem; background: var(--bg); border: 1px solid var(--line);
  border-radius: .3rem; white-space: pre-wrap; overflow-wrap: anywhere;
  font: .8rem/1.4 ui-monospace, "DejaVu Sans Mono", monospace; }
.message { border-left: .2rem solid var(--line); padding: .1rem .9rem; margin: .75rem 0; content-visibility: auto;
  contain-intrinsic-size: auto 5rem; }
.message.AI { border-color: var(--run); } .message.HUMAN { border-color: var(--stop); }
.message p { margin: .2rem 0; white-space: pre-wrap; }
ul.todos { list-style: none; padding: 0; } ul.todos li { margin: .2rem 0; }
:target { background: color-mix(in srgb, var(--run) 12%, var(--card)); }
@media (max-width: 46rem) {
  body { padding: .75rem; }
  thead { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
  tbody tr:first-child { border-top: 0; }
  tr { grid-template-columns: 1fr auto auto; padding: .5rem .6rem; }
  tr > :first-child { grid-column: 1 / -1; } tr > :nth-child(3) { text-align: left; }
  tr > :nth-child(2) { grid-row: 2; } tr > :nth-child(3) { grid-row: 2; } tr > :nth-child(4) { grid-row: 2; }
  tr > :nth-child(3)::before { content: "at "; color: var(--soft); }
  .list tr { grid-template-columns: 1fr auto; }
  .list tr > :nth-child(3) { grid-row: 3; grid-column: 1 / -1; }
  .list tr > :nth-child(3)::before { content: none; }
  .list tr > :nth-child(3)::after { content: " tasks"; color: var(--soft); }
  tr > :nth-child(4)::before { content: "for "; color: var(--soft); }
  tr > .none { display: none; }
  tr > :last-child { grid-column: 1 / -1; }
}
@media print { tbody, .message { content-visibility: visible; } .picks { display: none; } }
"""


def _picks() -> str:
    """Return the rules by which a choice hides all other tasks.

    They look at what follows the choice: rules with `:has` take minutes where there are thousands of tasks.
    """
    names = [status.name for status in TaskStatus]
    hide = ",\n".join(f"#f-{name}:checked ~ table .task:not(.{name})" for name in names)
    chosen = ", ".join(f"#f-{name}:checked ~ .picks [for=f-{name}]" for name in ("all", *names))
    focused = ", ".join(f"#f-{name}:focus-visible ~ .picks [for=f-{name}]" for name in ("all", *names))
    return (
        f"{hide} {{ display: none; }}\n"
        # The guess at the height of what is not on the screen is for all tasks.
        "#f-all:not(:checked) ~ table tbody { content-visibility: visible; }\n"
        f"{chosen} {{ border-color: var(--run); box-shadow: inset 0 0 0 1px var(--run); }}\n"
        f"{focused} {{ outline: 2px solid var(--run); outline-offset: 2px; }}"
    )


STYLE: Final = _STYLE.replace("%PICKS%", _picks())
