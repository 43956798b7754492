"use strict";
// Sorting and filtering. Without this script every row stands in the report's own order.
(() => {
  const collator = new Intl.Collator("en", { numeric: true });
  const NUMBER = 0, TEXT = 1, ABSENT = 2;

  function sortKey(row, index) {
    const cell = row.cells[index];
    if (cell.dataset.sort !== undefined) return [NUMBER, Number(cell.dataset.sort)];
    const text = cell.textContent.trim();
    return [cell.classList.contains("absent") || text === "" ? ABSENT : TEXT, text];
  }

  // Numbers before words, and what is absent last, whichever the direction.
  function compare(a, b, direction) {
    if (a[0] !== b[0]) return a[0] - b[0];
    return direction * (a[0] === NUMBER ? a[1] - b[1] : collator.compare(a[1], b[1]));
  }

  const NEXT = { none: "ascending", ascending: "descending", descending: "none" };
  const DIRECTION = { none: 0, ascending: 1, descending: -1 };

  function makeSortable(table) {
    const body = table.tBodies[0], rows = [...body.rows];
    const headers = [...table.tHead.rows[table.tHead.rows.length - 1].cells];
    headers.forEach((header, index) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...header.childNodes);
      header.append(button);
      header.setAttribute("aria-sort", "none");
      button.addEventListener("click", () => {
        const order = NEXT[header.getAttribute("aria-sort")], direction = DIRECTION[order];
        for (const each of headers) each.setAttribute("aria-sort", "none");
        header.setAttribute("aria-sort", order);
        const keys = new Map(rows.map((row) => [row, sortKey(row, index)]));
        body.append(...(direction ? rows.toSorted((a, b) => compare(keys.get(a), keys.get(b), direction)) : rows));
      });
    });
  }

  function makeFilter(ledger) {
    const rows = [...ledger.querySelectorAll("tbody tr")];
    const texts = new Map(rows.map((row) => [row, row.textContent.toLowerCase()]));
    const [verdict, section] = ["verdict", "section"].map((name) => ledger.querySelector(`select[name=${name}]`));
    const search = ledger.querySelector("input[type=search]");

    function apply() {
      const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
      for (const row of rows)
        row.hidden = (verdict.value && row.dataset.verdict !== verdict.value)
          || (section.value && row.dataset.section !== section.value)
          || !words.every((word) => texts.get(row).includes(word));
      const shown = rows.filter((row) => !row.hidden).length;
      ledger.querySelector("[role=status]").textContent = `${shown} of ${rows.length} claims shown`;
    }

    for (const box of [verdict, section, search]) box.addEventListener("input", apply);
    for (const link of document.querySelectorAll("a[data-verdict]"))
      link.addEventListener("click", () => {
        [verdict.value, section.value, search.value] = [link.dataset.verdict, link.dataset.section, ""];
        apply();
      });
    for (const link of document.querySelectorAll("a[href^='#claim-']"))
      link.addEventListener("click", () => {
        verdict.value = section.value = search.value = "";
        apply();
        document.querySelector(link.hash + " details").open = true;
      });
    ledger.querySelector(".filters").hidden = false;
    apply();
  }

  document.querySelectorAll("table").forEach(makeSortable);
  document.querySelectorAll(".ledger").forEach(makeFilter);
})();
