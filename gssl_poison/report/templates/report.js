"use strict";
// Sorting and filtering of the table, and tooltips. Holds no data and writes no markup: every
// string goes through textContent.
(() => {
  const table = document.getElementById("table");
  const body = table.tBodies[0];
  const rows = [...body.rows];
  const collator = new Intl.Collator(undefined, { numeric: true });

  const value = (row, column) => row.cells[column].dataset.value;
  for (const head of table.tHead.rows[0].cells) {
    const button = head.querySelector("button");
    if (!button) continue;
    button.addEventListener("click", () => {
      const first = head.dataset.first || "ascending";
      const other = first === "ascending" ? "descending" : "ascending";
      const order = head.getAttribute("aria-sort") === first ? other : first;
      for (const cell of table.tHead.rows[0].cells) cell.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", order);
      const sign = order === "ascending" ? 1 : -1;
      const column = head.cellIndex;
      const number = head.dataset.kind === "number";
      rows.sort((a, b) => {
        const x = value(a, column), y = value(b, column);
        const by = number ? Number(x) - Number(y) : collator.compare(x, y);
        return sign * by || Number(value(a, 0)) - Number(value(b, 0));
      });
      body.append(...rows);
    });
  }

  const input = document.getElementById("filter");
  const shown = document.getElementById("shown");
  const texts = new Map(rows.map((row) => [row, [...row.cells]
    .map((cell) => `${cell.textContent} ${cell.dataset.value || ""}`).join(" ").toLowerCase()]));
  const filter = () => {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    let count = 0;
    for (const row of rows) {
      row.hidden = !words.every((word) => texts.get(row).includes(word));
      if (!row.hidden) count += 1;
    }
    shown.textContent = words.length ? `${count} of ${rows.length}` : "";
  };
  input.closest("p").hidden = false;
  input.addEventListener("input", filter);
  // A link to a row that the filter hides shows it again.
  const reveal = () => {
    const row = document.getElementById(location.hash.slice(1));
    if (row && row.hidden) {
      input.value = "";
      filter();
      row.scrollIntoView();
    }
  };
  addEventListener("hashchange", reveal);

  // The browser's own tooltips are slow; show the same <title> text at once, with the image.
  const tip = document.getElementById("tip");
  let held = null;
  const release = () => {
    if (held) held.mark.prepend(held.title);
    held = null;
    tip.hidden = true;
  };
  const place = (x, y) => {
    const box = tip.getBoundingClientRect();
    tip.style.left = `${Math.max(6, Math.min(x + 14, innerWidth - box.width - 6))}px`;
    tip.style.top = `${y + 18 + box.height > innerHeight ? y - box.height - 12 : y + 18}px`;
  };
  document.addEventListener("pointerover", (event) => {
    const mark = event.target.closest("svg g, svg a, svg path, svg circle") &&
      event.target.closest("svg :has(> title)");
    if (held && mark === held.mark) return;
    release();
    if (!mark) return;
    const title = mark.querySelector(":scope > title");
    held = { mark, title };
    const text = title.textContent;
    title.remove();
    tip.replaceChildren();
    const row = mark.dataset.rank && document.getElementById(`rank-${mark.dataset.rank}`);
    const image = row && row.querySelector("img");
    if (image) {
      const copy = new Image();
      copy.src = image.src;
      copy.alt = "";
      tip.append(copy);
    }
    tip.append(text);
    tip.hidden = false;
    place(event.clientX, event.clientY);
  });
  document.addEventListener("pointermove", (event) => {
    if (held) place(event.clientX, event.clientY);
  });
  addEventListener("scroll", release, { passive: true, capture: true });
})();
