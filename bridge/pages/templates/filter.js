"use strict";
// Tables and lists with a filter: what doesn't match is hidden, and with it each part of a table that has no row left.
(() => {
  for (const form of document.querySelectorAll("form.filter")) {
    const list = document.querySelector(`[data-filtered="${form.dataset.for}"]`);
    const parts = list.matches(".rows") ? [...list.children] : [];
    const rows = parts.length ? parts.flatMap((part) => [...part.querySelector("tbody").rows]) : [...list.children];
    const told = form.querySelector("output");
    let texts = null;
    let waiting = 0;
    const apply = () => {
      texts ??= rows.map((row) => row.textContent.toLowerCase());
      const words = form.elements.text.value.toLowerCase().split(/\s+/).filter(Boolean);
      const choice = form.elements.choice ? form.elements.choice.value : "";
      let shown = 0;
      rows.forEach((row, place) => {
        const fits = words.every((word) => texts[place].includes(word))
          && (!choice || row.dataset.choices.split("|").includes(choice));
        if (row.hidden === fits) row.hidden = !fits;
        shown += fits;
      });
      for (const part of parts) part.hidden = !part.querySelector("tbody > tr:not([hidden])");
      told.textContent = shown === rows.length ? `${shown}` : `${shown} of ${rows.length}`;
    };
    form.addEventListener("input", () => {
      clearTimeout(waiting);
      waiting = setTimeout(apply, rows.length > 1000 ? 150 : 0);
    });
    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("reset", () => setTimeout(apply));
    form.hidden = false;
  }
})();
