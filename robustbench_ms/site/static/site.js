"use strict";
// The table's behaviour. What is seen is said by the part of the address after #, so that it can be sent and gone back to.
(() => {
  const boards = [...document.querySelectorAll(".board")].filter((one) => one.querySelector("table"));
  const all = (root, what) => [...root.querySelectorAll(what)];

  function read() {
    return new URLSearchParams(location.hash.slice(1));
  }

  function write(at, changes, { replace = false } = {}) {
    const told = read();
    for (const [name, value] of Object.entries(changes)) {
      if (value === "" || value === null) told.delete(name + at);
      else told.set(name + at, value);
    }
    const hash = "#" + told;
    if (hash === (location.hash || "#")) return;
    if (replace) history.replaceState(null, "", hash);
    else history.pushState(null, "", hash);
    show();
  }

  function compare(key, down) {
    // What has no number stands last, whichever way it is sorted.
    return (one, other) => {
      const [a, b] = [one.cells_[key], other.cells_[key]];
      if (key === "model" || (a.v === undefined && b.v === undefined)) {
        return (down ? -1 : 1) * a.text.localeCompare(b.text) || one.place - other.place;
      }
      if (a.v === undefined || b.v === undefined) return a.v === undefined ? 1 : -1;
      return (down ? b.v - a.v : a.v - b.v) || one.place - other.place;
    };
  }

  const known = boards.map((board) => {
    const body = board.querySelector("tbody");
    const rows = all(body, "tr").map((row, place) => {
      const cells = {};
      for (const cell of row.children) {
        if (!cell.dataset.key) continue;
        const v = cell.dataset.v === undefined ? undefined : Number(cell.dataset.v);
        cells[cell.dataset.key] = { cell, v, text: cell.textContent, none: cell.classList.contains("none") };
      }
      return { row, place, cells_: cells, words: row.dataset.words.toLowerCase() };
    });
    const heads = all(board, "thead th[data-key]");
    return { board, body, rows, heads, first: heads.filter((h) => h.dataset.shown === "1").map((h) => h.dataset.key) };
  });

  function show() {
    const told = read();
    known.forEach((one) => {
      const at = one.board.dataset.table;
      const asked = told.get("columns" + at);
      const names = asked === null ? one.first : asked.split("|");
      const shown = new Set(["model", ...names]);
      for (const head of one.heads) {
        const hidden = !shown.has(head.dataset.key);
        if (head.hidden !== hidden) {
          head.hidden = hidden;
          for (const row of one.rows) row.cells_[head.dataset.key].cell.hidden = hidden;
        }
        head.removeAttribute("aria-sort");
      }
      for (const box of all(one.board, ".columns input")) box.checked = shown.has(box.value);
      const [key, way] = (told.get("sort" + at) || "").split("~");
      const head = one.heads.find((h) => h.dataset.key === key);
      const order = head ? [...one.rows].sort(compare(key, way === "down")) : one.rows;
      if (head) head.setAttribute("aria-sort", way === "down" ? "descending" : "ascending");
      const search = told.get("search" + at) || "";
      const words = search.toLowerCase().split(/\s+/).filter(Boolean);
      const [complete, ranked, who] = ["complete", "ranked", "who"].map((name) => told.get(name + at) || "");
      let count = 0;
      for (const row of order) {
        const whole = one.heads.every((h) => !shown.has(h.dataset.key) || !row.cells_[h.dataset.key].none);
        const seen =
          words.every((word) => row.words.includes(word)) &&
          (!complete || whole) &&
          (!ranked || row.row.dataset.ranked === "1") &&
          (!who || row.cells_["measured by"].text === who);
        row.row.hidden = !seen;
        count += seen;
      }
      one.body.append(...order.map((row) => row.row));
      one.board.querySelector(".count").textContent = `${count} of ${one.rows.length} ${one.rows.length === 1 ? "model" : "models"}`;
      const input = one.board.querySelector(".search input");
      if (document.activeElement !== input) input.value = search;
      one.board.querySelector(".complete").checked = Boolean(complete);
      one.board.querySelector(".ranked").checked = Boolean(ranked);
      one.board.querySelector(".who").value = who;
    });
  }

  for (const one of known) {
    const { board } = one;
    const at = board.dataset.table;
    const on = (what, event, act) => board.querySelector(what).addEventListener(event, act);
    for (const head of one.heads) {
      head.firstElementChild.addEventListener("click", () => {
        const { key, kind } = head.dataset;
        const best = kind === "higher" ? "down" : "up";
        const now = read().get("sort" + at);
        write(at, { sort: `${key}~${now === `${key}~${best}` ? (best === "up" ? "down" : "up") : best}` });
      });
    }
    on(".search input", "input", (event) => write(at, { search: event.target.value }, { replace: true }));
    on(".complete", "change", (event) => write(at, { complete: event.target.checked ? "1" : "" }));
    on(".ranked", "change", (event) => write(at, { ranked: event.target.checked ? "1" : "" }));
    on(".who", "change", (event) => write(at, { who: event.target.value }));
    on(".columns", "change", () =>
      write(at, { columns: all(board, ".columns input:checked").map((box) => box.value).join("|") || "none" }));
    on(".reset", "click", () =>
      write(at, { sort: "", search: "", complete: "", ranked: "", who: "", columns: "" }));
    board.addEventListener("click", async (event) => {
      const button = event.target.closest(".copy");
      if (!button) return;
      try {
        await navigator.clipboard.writeText(button.dataset.command);
        button.textContent = "copied";
      } catch {
        window.prompt("The command:", button.dataset.command);
      }
    });
  }
  addEventListener("popstate", show);
  show();
})();
