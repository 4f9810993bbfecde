(() => {
  "use strict";
  const table = document.getElementById("table"), folds = [...document.querySelectorAll("details")];
  let opened = [];
  addEventListener("beforeprint", () => { opened = folds.filter((each) => !each.open); opened.forEach((each) => { each.open = true; }); });
  addEventListener("afterprint", () => opened.forEach((each) => { each.open = false; }));
  if (!table) return;
  const bodies = [...table.tBodies], heads = [...table.querySelectorAll(":scope > thead th")], told = document.getElementById("told");
  const value = (body, index) => { const cell = body.rows[0].cells[index], raw = cell.dataset.value ?? cell.textContent.trim(); return raw !== "" && !isNaN(raw) ? Number(raw) : raw; };
  const compare = (x, y) => typeof x === "number" && typeof y === "number" ? x - y : String(x).localeCompare(String(y), undefined, { numeric: true });
  heads.forEach((head, index) => head.querySelector("button").addEventListener("click", () => {
    const before = head.getAttribute("aria-sort"), first = head.classList.contains("num") ? "descending" : "ascending";
    const now = !before ? first : before === "ascending" ? "descending" : "ascending";
    heads.forEach((other) => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", now);
    const sign = now === "ascending" ? 1 : -1;
    table.append(...bodies.map((body) => [value(body, index), body]).sort((a, b) => sign * compare(a[0], b[0])).map((pair) => pair[1]));
    if (told) told.textContent = "Sorted by " + head.textContent.trim() + ", " + now + ".";
  }));
  const tools = document.getElementById("tools");
  if (!tools) return;
  tools.hidden = false;
  const words = document.getElementById("filter"), states = document.getElementById("state"), all = document.getElementById("unfold");
  const show = () => {
    const wanted = words.value.trim().toLowerCase();
    let shown = 0;
    bodies.forEach((body) => {
      body.hidden = !body.rows[0].cells[0].textContent.toLowerCase().includes(wanted) || Boolean(states && states.value && body.dataset.state !== states.value);
      shown += body.hidden ? 0 : 1;
    });
    told.textContent = shown === bodies.length ? "" : shown.toLocaleString("en") + " of " + bodies.length.toLocaleString("en") + " shown.";
  };
  words.addEventListener("input", show);
  if (states) states.addEventListener("change", show);
  all.addEventListener("click", () => {
    const open = all.getAttribute("aria-pressed") !== "true";
    all.setAttribute("aria-pressed", String(open));
    bodies.forEach((body) => body.querySelectorAll("details").forEach((each) => { each.open = open && !body.hidden; }));
  });
})();
