"use strict";
(() => {
  const table = document.querySelector("table.sortable");
  const box = document.querySelector(".filter");
  if (!table || !box) return;
  const body = table.tBodies[0];
  const rows = Array.from(body.rows).map((row, place) => ({ row, place, text: row.textContent.toLowerCase() }));
  const input = box.querySelector("input");
  const shown = box.querySelector("output");
  const filter = () => {
    const words = input.value.toLowerCase().split(" ").filter((word) => word !== "");
    let count = 0;
    for (const entry of rows) {
      const hit = words.every((word) => entry.text.includes(word));
      entry.row.hidden = !hit;
      if (hit) count++;
    }
    shown.textContent = count + " of " + rows.length;
  };
  input.addEventListener("input", filter);
  box.hidden = false;
  filter();
  const heads = Array.from(table.tHead.rows[0].cells);
  const compare = new Intl.Collator(undefined, { numeric: true }).compare;
  heads.forEach((head, column) => {
    const sort = () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      for (const entry of rows) entry.key = entry.row.cells[column].textContent.trim();
      rows.sort((a, b) => (down ? -1 : 1) * compare(a.key, b.key) || a.place - b.place);
      body.append(...rows.map((entry) => entry.row));
    };
    head.setAttribute("role", "button");
    head.tabIndex = 0;
    head.addEventListener("click", sort);
    head.addEventListener("keydown", (event) => {
      if (event.key === "Enter" || event.key === " ") {
        event.preventDefault();
        sort();
      }
    });
  });
})();
