"use strict";
// Shows what the server tells: parts of HTML by their ids, and the order in which each group has them.
const page = document.documentElement;
const state = document.getElementById("state");
let pause = 500, skew = 0, start = null, end = null, length = 0;

function connect() {
  const scheme = location.protocol === "https:" ? "wss" : "ws";
  const socket = new WebSocket(`${scheme}://${location.host}/ws/page${location.pathname}${location.search}`);
  socket.onopen = () => { pause = 500; };
  socket.onmessage = (event) => show(JSON.parse(event.data));
  socket.onclose = () => {
    say("No connection; what is shown may be old.");
    fetch("/page.js").then((answer) => { if (answer.status === 401) location.reload(); }, () => {});
    setTimeout(connect, pause);
    pause = Math.min(2 * pause, 8000);
  };
}

function say(text) {
  if (state.textContent !== text) state.textContent = text;
}

function show(news) {
  for (const [id, html] of Object.entries(news.parts)) put(id, html);
  for (const [group, ids] of Object.entries(news.order)) arrange(document.getElementById(`g-${group}`), ids);
  made.clear();
  document.title = news.title;
  skew = news.now - Date.now();
  [start, end] = [news.start, news.end];
  say(end === null ? "Live" : "Ended");
  tick();
}

const made = new Map();

function put(id, html) {
  const template = document.createElement("template");
  template.innerHTML = html;
  const fresh = template.content.firstElementChild, old = document.getElementById(id);
  if (fresh === null) { if (old !== null) old.remove(); return; }
  fresh.id = id;
  if (old === null) { made.set(id, fresh); return; }
  const opened = old.querySelectorAll("details"), wasAt = [...focusable(old)].indexOf(document.activeElement);
  fresh.querySelectorAll("details").forEach((one, place) => { one.open = place < opened.length && opened[place].open; });
  old.replaceWith(fresh);
  if (wasAt >= 0 && focusable(fresh)[wasAt]) focusable(fresh)[wasAt].focus({ preventScroll: true });
}

function focusable(element) {
  return element.querySelectorAll("a[href], summary");
}

function arrange(group, ids) {
  if (group === null) return;
  const stays = window.innerHeight + window.scrollY >= document.body.scrollHeight - 40;
  let next = group.firstElementChild;
  for (const id of ids) {
    const element = made.get(id) || document.getElementById(id);
    if (!element) continue;
    if (element === next) next = next.nextElementSibling;
    else group.insertBefore(element, next);
  }
  while (next !== null) { const gone = next; next = next.nextElementSibling; gone.remove(); }
  (group.closest("section") || group).hidden = group.firstElementChild === null;
  if (stays && group.id === "g-talk") window.scrollTo(0, document.body.scrollHeight);
}

function seconds(duration) {
  const whole = Math.round(Math.max(0, duration));
  if (duration < 59.95) return `${Math.max(0, duration).toFixed(1)} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${String(whole % 60).padStart(2, "0")} s`;
  if (whole < 86400) return `${Math.floor(whole / 3600)} h ${String(Math.floor(whole % 3600 / 60)).padStart(2, "0")} min`;
  return `${Math.floor(whole / 86400)} d ${String(Math.floor(whole % 86400 / 3600)).padStart(2, "0")} h`;
}

function tick() {
  const now = end === null ? Date.now() + skew : end;
  if (start !== null) {
    const passed = Math.max(0.001, (now - start) / 1000);
    // A new length is work for all rows, so while time passes it grows by a tenth at once.
    if (end !== null || passed > length || length > 1.2 * passed) {
      length = end === null ? 1.1 * passed : passed;
      page.style.setProperty("--len", length);
      document.querySelectorAll(".axis span").forEach((mark, part) => { mark.textContent = seconds(length * part / 2); });
    }
    for (const bar of document.querySelectorAll(".lane .open")) bar.style.setProperty("--b", passed);
  }
  for (const cell of document.querySelectorAll("[data-since]")) {
    cell.textContent = seconds((now - Date.parse(cell.dataset.since)) / 1000);
  }
}

setInterval(() => { if (end === null && !document.hidden) tick(); }, 500);
connect();
