// Comfort for the Rules pages: checking while one types, line numbers, ways to a line. All of it is optional.
"use strict";

const PAUSE_MS = 500;
let asked = null;
let changed = false;

// Checking: <form data-check="checked">: the same form is sent to its own page, and what that says is shown.

function watch(form) {
  let timer = 0;
  form.addEventListener("input", () => {
    changed = true;
    clearTimeout(timer);
    timer = setTimeout(check, PAUSE_MS, form);
  });
}

async function check(form) {
  asked?.abort();
  asked = new AbortController();
  const fields = new URLSearchParams(new FormData(form));
  fields.set("live", "1");
  const shown = document.getElementById(form.dataset.check);
  shown.setAttribute("aria-busy", "true");
  try {
    const answer = await fetch(form.action, { method: "POST", body: fields, signal: asked.signal });
    if (answer.status === 401) return tell(shown, "You have been signed out. Press Check: what you wrote is kept.");
    if (answer.status >= 500) return tell(shown, "The gateway cannot check this just now. What you wrote stays here.");
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const next = page.getElementById(shown.id);
    if (!next) return;
    shown.replaceChildren(...Array.from(next.childNodes, (node) => document.importNode(node, true)));
    for (const field of form.elements) mark(field, page);
  } catch { /* away, or asked again meanwhile: what is shown stays */ } finally {
    shown.removeAttribute("aria-busy");
  }
}

function tell(shown, text) {
  const notice = document.createElement("p");
  notice.className = "notice warn";
  notice.textContent = text;
  shown.replaceChildren(notice);
}

function mark(field, page) {
  const twin = field.id && page.getElementById(field.id);
  if (!twin || !("value" in field)) return;
  for (const name of ["aria-invalid", "aria-describedby"]) {
    if (twin.hasAttribute(name)) field.setAttribute(name, twin.getAttribute(name));
    else field.removeAttribute(name);
  }
  const hint = page.getElementById(field.id + "-hint");
  document.getElementById(field.id + "-hint")?.remove();
  if (hint) field.after(document.importNode(hint, true));
}

// Nobody leaves a change behind unasked.

addEventListener("submit", () => { changed = false; });
addEventListener("beforeunload", (event) => { if (changed) event.preventDefault(); });

// Line numbers: <textarea data-numbered>

function number(area) {
  const box = document.createElement("div");
  const gutter = document.createElement("pre");
  box.className = "numbered";
  gutter.setAttribute("aria-hidden", "true");
  area.replaceWith(box);
  box.append(gutter, area);
  let count = 0;
  const follow = () => { gutter.scrollTop = area.scrollTop; };
  const draw = () => {
    const lines = area.value.split("\n").length;
    if (lines !== count) gutter.textContent = Array.from({ length: lines }, (_, at) => at + 1).join("\n");
    count = lines;
    follow();
  };
  area.addEventListener("input", draw);
  area.addEventListener("scroll", follow);
  draw();
}

function goTo(area, line) {
  const lines = area.value.split("\n");
  const start = lines.slice(0, line - 1).reduce((sum, text) => sum + text.length + 1, 0);
  const height = parseFloat(getComputedStyle(area).lineHeight);
  area.focus();
  area.setSelectionRange(start, start + (lines[line - 1] ?? "").length);
  area.scrollTop = Math.max(0, (line - 4) * height);
}

document.querySelectorAll("form[data-check]").forEach(watch);
document.querySelectorAll("textarea[data-numbered]").forEach(number);
document.addEventListener("click", (event) => {
  const link = event.target.closest("a[data-line]");
  const area = link && document.querySelector(link.getAttribute("href"));
  if (!area) return;
  event.preventDefault();
  goTo(area, Number(link.dataset.line));
});
