// Import of a bundle from a page: sent as one body, with how far it is; what it comes to is drawn by the server.
"use strict";

const form = document.querySelector("form[data-import]");
const told = document.getElementById("import-told");
const report = document.getElementById("import-report");
let sending = null;

function announce(look, text, lines) {
  const notice = document.createElement("div");
  const list = document.createElement("ul");
  notice.className = "notice " + look;
  notice.append(element("p", text));
  list.append(...lines.map((line) => element("li", line)));
  if (lines.length) notice.append(list);
  told.replaceChildren(notice);
}

function element(name, text) {
  const made = document.createElement(name);
  made.textContent = text;
  return made;
}

function show(done, total, text) {
  let bar = told.querySelector("progress");
  if (!bar) {
    bar = document.createElement("progress");
    bar.setAttribute("aria-label", "Progress of the upload");
    told.replaceChildren(bar, document.createElement("p"));
  }
  if (done < total) { bar.max = total; bar.value = done; } else bar.removeAttribute("value");
  bar.nextSibling.textContent = text;
}

function shown(bytes) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  const at = Math.min(units.length - 1, Math.max(0, Math.floor(Math.log2(bytes || 1) / 10)));
  return (bytes / 1024 ** at).toFixed(at ? 1 : 0) + " " + units[at];
}

// Volumes are one bundle: joined by their names. Nothing is read before it is sent.

function bundle() {
  const files = Array.from(form.elements.bundle.files);
  files.sort((one, other) => (one.name < other.name ? -1 : 1));
  return new Blob(files);
}

async function send(isDry) {
  const content = bundle();
  const query = new URLSearchParams({ dry_run: isDry });
  for (const name of ["replace", "with_rules"]) if (form.elements[name].checked) query.set(name, "true");
  const request = new XMLHttpRequest();
  request.open("PUT", form.dataset.import + "?" + query);
  request.setRequestHeader("Content-Type", "application/octet-stream");
  request.setRequestHeader("X-Form-Token", form.elements.form_token.value);
  const signature = form.elements.signature?.files[0];
  if (signature) request.setRequestHeader("X-Bundle-Signature", (await signature.text()).trim());
  request.upload.addEventListener("progress", (event) => {
    show(event.loaded, event.total, shown(event.loaded) + " of " + shown(event.total) + " sent");
  });
  request.upload.addEventListener("load", () => {
    show(1, 1, isDry ? "All is sent; it is being checked." : "All is sent; it is being checked and taken in.");
  });
  request.addEventListener("load", () => answered(request, isDry));
  request.addEventListener("error", () => ended("bad", "The gateway cannot be reached, or cut the upload off. Nothing was changed by it."));
  request.addEventListener("abort", () => ended("warn", "Cancelled. Nothing was changed."));
  sending = request;
  mark();
  report.replaceChildren();
  show(0, 1, "Sending.");
  request.send(content);
}

function answered(request, isDry) {
  const answer = read(request.responseText);
  if (request.status === 200) return finished(answer, isDry);
  if (request.status === 401) return ended("warn", "You have been signed out: sign in on another tab, then send it again.");
  const error = answer?.errors?.[0];
  if (error?.detail?.faults) return ended("bad", "The bundle is refused, and nothing was changed.", error.detail.faults);
  ended("bad", error ? error.message : "The gateway answered " + request.status + ".");
}

function read(text) {
  try { return JSON.parse(text); } catch { return null; }
}

async function finished(answer, isDry) {
  const page = await fetch("/admin/bundles/imports/" + answer.job, { headers: { accept: "text/html" } });
  const next = page.ok && new DOMParser().parseFromString(await page.text(), "text/html").getElementById("import-report");
  if (next) report.replaceChildren(...Array.from(next.childNodes, (node) => document.importNode(node, true)));
  label(report); // of desk.js
  offer(isDry);
  sending = null;
  mark();
  told.replaceChildren();
  report.scrollIntoView({ block: "nearest" });
  if (isDry) form.elements.take.focus();
}

function ended(look, text, lines = []) {
  sending = null;
  mark();
  announce(look, text, lines);
}

// What was checked may be taken in, as it was checked.

function offer(isChecked) {
  form.elements.take.hidden = !isChecked;
  form.elements.look.classList.toggle("primary", !isChecked);
}

function mark() {
  for (const button of form.querySelectorAll("button[type=submit]")) button.disabled = sending !== null;
  form.elements.cancel.hidden = sending === null;
}

if (form) {
  form.hidden = false;
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (!sending) send(event.submitter?.name !== "take");
  });
  form.elements.cancel.addEventListener("click", () => sending?.abort());
  form.addEventListener("change", () => {
    offer(false);
    told.replaceChildren();
    report.replaceChildren();
  });
  addEventListener("beforeunload", (event) => { if (sending) event.preventDefault(); });
}
