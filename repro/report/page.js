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

  function sortRows(table, index, direction) {
    for (const body of table.tBodies) { // a scale each: rows of different scales never mix
      const rows = [...body.rows].filter((row) => row.dataset.place !== undefined);
      const keys = new Map(rows.map((row) => [row, sortKey(row, index)]));
      const place = (row) => Number(row.dataset.place);
      rows.sort((a, b) => direction && compare(keys.get(a), keys.get(b), direction) || place(a) - place(b));
      body.append(...rows);
    }
  }

  const NEXT = { none: "ascending", ascending: "descending", descending: "none" };
  const DIRECTION = { none: 0, ascending: 1, descending: -1 };

  function makeSortable(table) {
    for (const body of table.tBodies)
      [...body.rows].filter((row) => !row.classList.contains("scale")).forEach((row, i) => { row.dataset.place = i; });
    const headers = [...table.tHead.rows[table.tHead.rows.length - 1].cells];
    headers.forEach((header, index) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...header.childNodes);
      header.append(button);
      header.setAttribute("aria-sort", "none");
      button.addEventListener("click", () => {
        const order = NEXT[header.getAttribute("aria-sort")];
        for (const each of headers) each.setAttribute("aria-sort", "none");
        header.setAttribute("aria-sort", order);
        sortRows(table, index, DIRECTION[order]);
      });
    });
  }

  function makeFilter(ledger) {
    const rows = [...ledger.querySelectorAll("tr[data-verdict]")];
    const texts = new Map(rows.map((row) => [row, row.textContent.toLowerCase()]));
    const search = ledger.querySelector("input[type=search]");
    const buttons = [...ledger.querySelectorAll("button[data-verdict]")];
    let verdict = "";

    function apply() {
      const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
      for (const row of rows) {
        const kind = verdict === "" || row.dataset.verdict === verdict;
        row.hidden = !kind || !words.every((word) => texts.get(row).includes(word));
      }
      for (const button of buttons) button.setAttribute("aria-pressed", String(button.dataset.verdict === verdict));
      const shown = rows.filter((row) => !row.hidden).length;
      ledger.querySelector("[role=status]").textContent = `${shown} of ${rows.length} claims shown`;
    }

    function choose(name) {
      verdict = name;
      apply();
    }

    for (const button of buttons) button.addEventListener("click", () => choose(button.dataset.verdict));
    search.addEventListener("input", apply);
    for (const link of document.querySelectorAll("a[data-verdict]"))
      link.addEventListener("click", () => choose(link.dataset.verdict));
    ledger.querySelector(".filters").hidden = false;
    apply();
  }

  document.querySelectorAll("table").forEach(makeSortable);
  document.querySelectorAll(".ledger").forEach(makeFilter);
})();
