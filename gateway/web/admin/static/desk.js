// Comfort for the pages of the admin's desk; each of them works without it. It keeps nothing.
"use strict";

const IDLE_MS = 10 * 60 * 1000; // a page that nobody touches lets its session end
const COPIED_MS = 2000;
let touchedAt = Date.now();

// Copy buttons: <button type="button" data-copy="#id">Copy</button>

async function copy(button) {
  const source = document.querySelector(button.dataset.copy);
  const text = "value" in source ? source.value : source.textContent;
  try {
    await navigator.clipboard.writeText(text);
    say(button, "Copied");
  } catch {
    getSelection().selectAllChildren(source);
    say(button, "Press Ctrl+C");
  }
}

function say(button, text) {
  button.dataset.label ??= button.textContent;
  button.setAttribute("aria-live", "polite");
  button.textContent = text;
  setTimeout(() => { button.textContent = button.dataset.label; }, COPIED_MS);
}

// Questions before what cannot be undone: <button data-confirm="Forget argo-cd:7.7.5?">Purge</button>

function ask(button) {
  const dialog = document.createElement("dialog");
  const text = document.createElement("p");
  const actions = document.createElement("form");
  text.id = "confirm-text";
  text.textContent = button.dataset.confirm;
  actions.method = "dialog";
  actions.className = "actions";
  actions.append(made("Cancel", "no", ""), made(button.textContent.trim(), "yes", "danger"));
  dialog.setAttribute("aria-labelledby", text.id);
  dialog.append(text, actions);
  dialog.addEventListener("close", () => {
    dialog.remove();
    button.focus();
    if (dialog.returnValue === "yes") button.form.requestSubmit(button);
  });
  document.body.append(dialog);
  dialog.showModal();
}

function made(label, value, look) {
  const button = document.createElement("button");
  button.textContent = label;
  button.value = value;
  button.className = look;
  return button;
}

// Live regions: <section id="jobs" data-live="2">: the same page again, this part of it replaced.

async function renew(region) {
  if (isHeld(region)) return follow(region);
  let next = null;
  try {
    const answer = await fetch(location.href, { headers: { accept: "text/html" }, redirect: "error" });
    if (answer.status === 401) return;
    if (answer.ok) next = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById(region.id);
  } catch { /* away for now: what is shown stays, and is asked for again */ }
  if (!next || isHeld(region)) return follow(region);
  for (const open of region.querySelectorAll("details[open][id]")) {
    const again = next.querySelector("#" + CSS.escape(open.id));
    if (again) again.open = true;
  }
  const fresh = document.importNode(next, true);
  if (fresh.innerHTML !== region.innerHTML) {
    region.replaceWith(fresh);
    label(fresh);
    region = fresh;
  }
  if (fresh.dataset.live) follow(region);
}

function follow(region) {
  setTimeout(renew, Math.max(1, Number(region.dataset.live)) * 1000, region);
}

function isHeld(region) {
  const selection = getSelection();
  return document.hidden || Date.now() - touchedAt > IDLE_MS
    || region.contains(document.activeElement)
    || (!selection.isCollapsed && region.contains(selection.anchorNode));
}

// On a phone the rows of a table stand as cards: each cell says which column it is.

function label(root) {
  for (const table of root.querySelectorAll("table.list")) {
    const names = Array.from(table.querySelectorAll("thead th"), (cell) => cell.textContent.trim());
    for (const row of table.tBodies[0]?.rows ?? []) {
      Array.from(row.cells).forEach((cell, at) => {
        if (cell.tagName === "TD" && names[at] && cell.colSpan === 1) cell.dataset.label ??= names[at];
      });
    }
  }
}

document.documentElement.classList.add("scripted");
document.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (button?.dataset.copy) copy(button);
  if (button?.dataset.confirm && button.form) {
    event.preventDefault();
    if (button.form.reportValidity()) ask(button);
  }
});
for (const name of ["pointerdown", "pointermove", "keydown", "scroll"]) {
  addEventListener(name, () => { touchedAt = Date.now(); }, { passive: true });
}
label(document);
document.querySelectorAll("[data-live]").forEach(follow);
