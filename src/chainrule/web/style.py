"""What the page looks like, and the one thing it does (copying code)."""

__all__ = ["SCRIPT", "STYLE"]

STYLE = """
:root {
  color-scheme: light dark;
  --ink: #1d2733; --soft: #5a6675; --page: #ffffff; --card: #f6f8fa; --line: #d9dfe6;
  --accent: #2f6fbf; --result: #e4f6ea; --good: #12492a; --bad: #8a1f2b;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ink: #e8edf2; --soft: #9aa6b3; --page: #14181d; --card: #1c222a; --line: #343d48;
    --accent: #6ea8ee; --result: #17392a; --good: #a9e8c2; --bad: #ff9aa6;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0 auto; max-width: 68rem; padding: 1.5rem 1.25rem 4rem; color: var(--ink);
  background: var(--page); font: 16px/1.55 system-ui, -apple-system, "Segoe UI", "DejaVu Sans",
  sans-serif;
}
code, pre {
  font-family: ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; font-size: 0.9em;
}
h1 { font-size: 1.5rem; margin: 0 0 0.25rem; overflow-wrap: anywhere; }
h1 code { font-size: 1em; }
h2 {
  font-size: 1.15rem; margin: 2.25rem 0 0.75rem; padding-bottom: 0.3rem;
  border-bottom: 1px solid var(--line);
}
.given, .hint { color: var(--soft); margin: 0.2rem 0 0.6rem; }
.badge {
  display: inline-block; padding: 0.05rem 0.6rem; margin: 0 0.2rem 0.2rem 0; border-radius: 1rem;
  background: var(--card); border: 1px solid var(--line); font-size: 0.82rem; color: var(--soft);
}
.badge.good { background: var(--result); color: var(--good); }
.badge.bad, .note { color: var(--bad); }
nav { display: flex; flex-wrap: wrap; gap: 0.25rem 1rem; margin-top: 0.5rem; }
nav a { color: var(--accent); text-decoration: none; font-size: 0.92rem; }
nav a:hover { text-decoration: underline; }
.scroll { overflow-x: auto; max-width: 100%; }
math { font-size: 1.12rem; }
table { border-collapse: collapse; }
.formulas td { padding: 0.35rem 1.1rem 0.35rem 0.6rem; vertical-align: middle; }
.formulas math { display: inline-block; text-align: left; }
.formulas tr.result td { background: var(--result); }
.formulas tr.result td:first-child { border-left: 3px solid #3f9d63; }
.shape, .flops { color: var(--soft); font-size: 0.9rem; white-space: nowrap; }
.term { white-space: nowrap; }
.numbers { margin: 0.5rem 0 1rem; }
.numbers th, .numbers td { padding: 0.3rem 0.9rem; border-bottom: 1px solid var(--line); }
.numbers td { text-align: right; font-variant-numeric: tabular-nums; }
.numbers th { text-align: left; font-weight: 600; }
.numbers thead th { color: var(--soft); font-weight: 500; font-size: 0.9rem; text-align: right; }
.numbers thead th:first-child, .numbers .order { text-align: left; }
.numbers tr.result { background: var(--result); }
figure { margin: 0; }
figure > svg { display: block; margin: 0 auto; }
.pictures { display: flex; flex-wrap: wrap; gap: 1rem 2rem; }
.picture { padding: 0.75rem; background: var(--card); border-radius: 8px; overflow-x: auto; }
figcaption { font-weight: 600; margin-bottom: 0.3rem; }
.steps { padding-left: 1.6rem; }
.steps li { margin: 0.7rem 0; }
.steps math { display: inline-block; text-align: left; font-size: 1rem; margin: 0.15rem 0; }
pre {
  background: var(--card); border: 1px solid var(--line); border-radius: 8px; margin: 0;
  padding: 0.9rem 1rem; overflow-x: auto; line-height: 1.45;
}
details { margin-top: 0.5rem; }
summary { cursor: pointer; color: var(--accent); font-size: 0.92rem; }
.tabs { display: flex; flex-wrap: wrap; }
.tabs > input { position: absolute; opacity: 0; }
.tabs > label {
  order: 1; padding: 0.35rem 1rem; cursor: pointer; color: var(--soft);
  border-bottom: 2px solid transparent;
}
.tabs > input:checked + label { color: var(--ink); border-color: var(--accent); }
.tabs > input:focus-visible + label { outline: 2px solid var(--accent); }
.tabs > .panel { order: 2; display: none; width: 100%; position: relative; padding-top: 0.6rem; }
.tabs > input:checked + label + .panel { display: block; }
.copy {
  position: absolute; right: 0.5rem; top: 1.1rem; font: inherit; font-size: 0.8rem;
  color: var(--soft); background: var(--page); border: 1px solid var(--line); border-radius: 6px;
  padding: 0.1rem 0.6rem; cursor: pointer;
}
@media print {
  nav, .copy { display: none; }
  .tabs > .panel { display: block; }
}
""".strip()

SCRIPT = """
for (const button of document.querySelectorAll('.copy')) {
  button.addEventListener('click', async () => {
    const code = button.parentElement.querySelector('code').textContent;
    try {
      await navigator.clipboard.writeText(code);
      button.textContent = 'copied';
    } catch {
      const range = document.createRange();
      range.selectNodeContents(button.parentElement.querySelector('code'));
      getSelection().removeAllRanges();
      getSelection().addRange(range);
      button.textContent = 'selected';
    }
    setTimeout(() => { button.textContent = 'copy'; }, 1500);
  });
}
""".strip()
