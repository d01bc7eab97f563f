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

  // values under the pointer
  for (const mark of all("svg [data-words]")) {
    const box = mark.closest(".scroll");
    mark.addEventListener("pointerenter", (e) => {
      const tip = document.createElement("div"), at = box.getBoundingClientRect();
      tip.className = "tip";
      tip.textContent = mark.getAttribute("data-words");
      box.append(tip);
      tip.style.left = Math.max(0, Math.min(e.clientX - at.left + 8, at.width - tip.offsetWidth)) + box.scrollLeft + "px";
      tip.style.top = Math.max(0, e.clientY - at.top - 30) + "px";
    });
    mark.addEventListener("pointerleave", () => all(".tip", box).forEach((t) => t.remove()));
  }
})();
