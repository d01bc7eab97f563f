(() => {
  "use strict";
  const all = (q, at) => [...(at || document).querySelectorAll(q)];
  const open = () => {
    const id = decodeURIComponent(location.hash.slice(1));
    const to = id && document.getElementById(id);
    for (let at = to; at; at = at.parentElement) if (at.tagName === "DETAILS") at.open = true;
    if (to) to.scrollIntoView();
  };
  addEventListener("hashchange", open);
  open();
  addEventListener("beforeprint", () => all("details").forEach((d) => (d.open = true)));

  const choose = document.getElementById("switch");
  if (choose) choose.addEventListener("change", () => {
    all("[data-condition]").forEach((e) => (e.hidden = Boolean(choose.value) && !(choose.value + "_").startsWith(e.dataset.condition + "_")));
    if (choose.value) all("article[data-condition] > details").forEach((d) => (d.open = true));
  });

  for (const th of all("th")) th.firstElementChild.addEventListener("click", () => {
    const body = th.closest("table").tBodies[0], place = th.cellIndex;
    const up = th.getAttribute("aria-sort") !== "ascending";
    const key = (row) => row.cells[place].dataset.v ?? row.cells[place].textContent;
    const number = th.classList.contains("num");
    const rows = [...body.rows].sort((a, b) => {
      const x = key(a), y = key(b);
      if (number && (x === "" || y === "")) return (x === "") - (y === "");  // what is missing stays last
      const order = number ? Number(x.replace("inf", "Infinity")) - Number(y.replace("inf", "Infinity")) : x.localeCompare(y, undefined, { numeric: true });
      return up ? order : -order;
    });
    all("th", th.parentElement).forEach((t) => t.removeAttribute("aria-sort"));
    th.setAttribute("aria-sort", up ? "ascending" : "descending");
    body.append(...rows);
  });

  for (const views of all(".views")) {
    views.hidden = false;
    const at = views.parentElement;
    views.addEventListener("click", (e) => {
      const view = e.target.dataset && e.target.dataset.view;
      if (!view) return;
      if (view === "seeds") {
        e.target.setAttribute("aria-pressed", String(!at.classList.toggle("noseeds")));
        return;
      }
      all("[data-view=linear],[data-view=log]", views).forEach((b) => b.setAttribute("aria-pressed", String(b === e.target)));
      all(".linear", at).forEach((f) => (f.hidden = view !== "linear"));
      all(".log", at).forEach((f) => (f.hidden = view !== "log"));
    });
  }

  // values under the pointer: those of all lines at the nearest place
  for (const figure of all("[data-told]")) {
    const svg = figure.querySelector("svg"), box = figure.closest(".scroll");
    let told = null, rule = null, tip = null;
    const away = () => { if (tip) { tip.remove(); rule.remove(); tip = rule = null; } };
    const nearest = (line, x) => line.x.reduce((best, at, i) => (Math.abs(at - x) < Math.abs(line.x[best] - x) ? i : best), 0);
    svg.addEventListener("pointermove", (e) => {
      told = told || JSON.parse(figure.dataset.told);
      const size = svg.viewBox.baseVal, seen = svg.getBoundingClientRect(), at = box.getBoundingClientRect();
      const x = (e.clientX - seen.left) / seen.width * size.width, y = (e.clientY - seen.top) / seen.height * size.height;
      const axes = told.find((a) => x >= a.box[0] - 4 && x <= a.box[2] + 4 && y >= a.box[1] && y <= a.box[3]);
      if (!axes) return away();
      let place = Infinity, words = "";
      for (const line of axes.lines) for (const i of [nearest(line, x)]) if (line.x.length && Math.abs(line.x[i] - x) < Math.abs(place - x)) [place, words] = [line.x[i], line.at[i]];
      const rows = axes.lines.filter((l) => l.x.length).map((l) => [l, nearest(l, x)]).filter(([l, i]) => Math.abs(l.x[i] - place) < 0.6)
        .sort(([a, i], [b, j]) => a.y[i] - b.y[j]).map(([l, i]) => l.name[0] + "  " + l.values[i]);
      if (!rows.length) return away();
      if (!tip) {
        tip = document.createElement("div");
        tip.className = "tip";
        rule = document.createElementNS("http://www.w3.org/2000/svg", "line");
        rule.setAttribute("class", "rule");
        svg.append(rule);
        box.append(tip);
      }
      for (const [name, value] of [["x1", place], ["x2", place], ["y1", axes.box[1]], ["y2", axes.box[3]]]) rule.setAttribute(name, value);
      tip.textContent = words + " " + axes.of + "\n" + rows.slice(0, 12).join("\n");
      const left = e.clientX - at.left;
      tip.style.left = Math.max(0, left + 14 + tip.offsetWidth > at.width ? left - tip.offsetWidth - 14 : left + 14) + box.scrollLeft + "px";
      tip.style.top = Math.max(0, e.clientY - at.top - 20) + "px";
    });
    svg.addEventListener("pointerleave", away);
  }
})();
