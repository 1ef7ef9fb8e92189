"use strict";
// A cell of the matrix opens its rules and what changes; by pointer, by keyboard, or by two lists of zones.
(() => {
  const most = 500;
  const make = (tag, text, className) => {
    const element = document.createElement(tag);
    if (text !== undefined) element.textContent = text;
    if (className) element.className = className;
    return element;
  };

  const matrix = JSON.parse(document.getElementById("details").textContent);
  const { zones, texts, words = [] } = matrix;
  const count = zones.length;
  const holder = document.querySelector(".cells");
  const size = Number(holder.dataset.size);
  const panel = document.getElementById("pair");
  const readout = document.querySelector(".readout");
  const chooser = document.querySelector("form.choose");
  const sets = matrix.sets.map((places) => new Set(places));
  const marks = new Map(matrix.marks.map(([row, column, mark]) => [row * count + column, mark]));
  const markWords = {
    opens: "the candidate opens something", closes: "the candidate closes something",
    both: "the candidate opens something and closes something", other: "the candidate denies otherwise",
  };

  const sentence = (row, column) => {
    const number = matrix.counts[row][column];
    const [one, many] = matrix.sentences[matrix.cells[row][column]];
    const mark = marks.get(row * count + column);
    return (number === 1 ? one : many.replace("{}", number.toLocaleString("en"))) + (mark ? `; ${markWords[mark]}` : "");
  };
  const title = (row, column) => `${zones[row]} → ${zones[column]}`;

  // The rules of a pair in the order in which they are asked, up to the one that matches everything.
  const rulesOf = (row, column, same) => {
    const found = [];
    for (const rule of matrix.rules) {
      const [from, to, pairing, whole] = rule.slice(8);
      if (pairing === 1 ? !same : pairing === 2 && same) continue;
      if (from >= 0 && !sets[from].has(row)) continue;
      if (pairing !== 1 && to >= 0 && !sets[to].has(column)) continue;
      found.push(rule);
      if (whole) break;
    }
    return found;
  };

  const verdictClass = (action) => (action === "allow" ? "allow" : action.startsWith("reset") ? "reset" : "deny");
  const table = (head, rows, className = "rules") => {
    const made = make("table", undefined, className);
    const line = made.createTHead().insertRow();
    for (const name of head) {
      const cell = make("th", name);
      cell.scope = "col";
      line.append(cell);
    }
    made.createTBody().append(...rows);
    return made;
  };
  const ruleRow = (rule) => {
    const [number, name, place, action, status, from, to, traffic] = rule.slice(0, 8).map((at) => texts[at]);
    const line = make("tr", undefined, rule[11] ? "whole" : "");
    const named = make("td");
    const anchor = texts[rule[12]];
    if (anchor) {
      const link = make("a", name);
      link.href = `#${anchor}`;
      named.append(link);
    } else named.append(name);
    named.append(make("small", (number ? `no. ${number}, ` : "") + place));
    const does = make("td");
    does.append(make("span", action, `verdict-text ${verdictClass(action)}`), make("small", status));
    line.append(named, does, make("td", from === to && from === "any" ? "any" : `${from} → ${to}`), make("td", traffic));
    return line;
  };
  const pieceRow = ([from, to, traffic, old, oldRule, now, newRule]) => {
    const line = make("tr");
    const verdict = (word, rule) => {
      const cell = make("td");
      cell.append(make("span", word, `verdict-text ${verdictClass(word)}`), make("small", rule));
      return cell;
    };
    line.append(make("td", `${words[from]} → ${words[to]}`), make("td", words[traffic]), verdict(words[old], words[oldRule]), verdict(words[now], words[newRule]));
    return line;
  };
  const piecesOf = (row, column, same) => {
    const number = (matrix.changed || {})[`${row},${column}${same && row === matrix.other ? ",same" : ""}`];
    return number === undefined ? [] : matrix.pieces[number];
  };
  const seenRow = ([ends, traffic, verdict, rule, number, more]) => {
    const line = make("tr");
    const judged = make("td");
    judged.append(make("span", verdict, `verdict-text ${verdictClass(verdict)}`), make("small", rule));
    const times = make("td", number);
    times.append(make("small", more));
    line.append(make("td", ends), make("td", traffic), judged, times);
    return line;
  };
  const listing = (row, column, same) => {
    const parts = [];
    const [seen, unlisted] = (matrix.seen || {})[`${row},${column}`] || [[], 0];
    if (seen.length && !(same && row === matrix.other)) {
      parts.push(make("h4", "What was seen, the most first"), table(["Source → destination", "Traffic", "Verdict", "Connections"], seen.map(seenRow), "seen"));
      if (unlisted) parts.push(make("p", `and ${unlisted} more kinds of connections`, "note"));
    }
    const pieces = piecesOf(row, column, same);
    if (pieces.length) {
      parts.push(make("h4", pieces.length === 1 ? "What changes" : `What changes: ${pieces.length} sets of connections`));
      parts.push(table(["Source → destination", "Traffic", "Before", "After"], pieces.slice(0, most).map(pieceRow), "pieces"));
      if (pieces.length > most) parts.push(make("p", `and ${pieces.length - most} more`, "note"));
      const unless = new Set(pieces.flatMap((piece) => piece.slice(7).map((at) => words[at])));
      if (unless.size) parts.push(make("p", `What these allow stays as it is: ${[...unless].join(", ")}`, "note"));
    }
    const rules = rulesOf(row, column, same);
    parts.push(make("h4", matrix.changed ? "Rules of the candidate, the first that matches decides" : "Rules, the first that matches decides"));
    parts.push(table(["Rule", "Action", "Source → destination", "Traffic"], rules.slice(0, most).map(ruleRow)));
    if (rules.length > most) parts.push(make("p", `and ${rules.length - most} more rules`, "note"));
    return parts;
  };

  let chosen = null;
  const open = (row, column) => {
    const other = row === matrix.other && column === matrix.other;
    const head = make("h3", title(row, column));
    panel.replaceChildren(head, make("p", `${sentence(row, column)}.`), ...listing(row, column, row === column && !other));
    if (other) panel.append(make("h3", "within one such zone"), ...listing(row, column, true));
    panel.setAttribute("aria-label", `${zones[row]} to ${zones[column]}`);
    panel.scrollTop = 0;
    if (!chosen) holder.append(chosen = make("div", undefined, "chosen"));
    lay(chosen, column, row, 1, 1);
    chooser.elements.from.value = row;
    chooser.elements.to.value = column;
  };
  const lay = (element, column, row, wide, high) => {
    element.style.left = `${column * size}px`;
    element.style.top = `${row * size}px`;
    element.style.width = `${wide * size}px`;
    element.style.height = `${high * size}px`;
  };

  // The grid for the keyboard and for screen readers: two cells take turns, so that each step moves the focus.
  holder.setAttribute("role", "grid");
  holder.setAttribute("aria-label", document.getElementById("matrix-title").textContent);
  holder.setAttribute("aria-rowcount", count);
  holder.setAttribute("aria-colcount", count);
  holder.querySelector("svg").setAttribute("aria-hidden", "true");
  const turns = [0, 1].map(() => {
    const line = make("div");
    const cell = make("div");
    line.setAttribute("role", "row");
    cell.setAttribute("role", "gridcell");
    line.append(cell);
    return { line, cell };
  });
  holder.append(turns[0].line);
  // What the names at the edges cover isn't in view.
  const corner = document.querySelector(".corner");
  holder.closest(".scroll").style.scrollPadding = `${corner.offsetHeight + 8}px 8px 8px ${corner.offsetWidth + 8}px`;
  let turn = 0;
  const at = { row: 0, column: 0 };
  const show = ({ line, cell }) => {
    line.setAttribute("aria-rowindex", at.row + 1);
    cell.setAttribute("aria-colindex", at.column + 1);
    cell.setAttribute("aria-label", `${zones[at.row]} to ${zones[at.column]}: ${sentence(at.row, at.column)}`);
    cell.tabIndex = 0;
    lay(cell, at.column, at.row, 1, 1);
  };
  show(turns[0]);
  const tell = (row, column) => {
    readout.textContent = `${title(row, column)}: ${sentence(row, column)}`;
  };
  const move = (row, column) => {
    at.row = Math.max(0, Math.min(count - 1, row));
    at.column = Math.max(0, Math.min(count - 1, column));
    const old = turns[turn].line;
    turn = 1 - turn;
    show(turns[turn]);
    holder.append(turns[turn].line);
    turns[turn].cell.focus({ preventScroll: true });
    old.remove();
    turns[turn].cell.scrollIntoView({ block: "nearest", inline: "nearest", behavior: "instant" });
    tell(at.row, at.column);
  };
  const steps = {
    ArrowUp: () => move(at.row - 1, at.column), ArrowDown: () => move(at.row + 1, at.column),
    ArrowLeft: () => move(at.row, at.column - 1), ArrowRight: () => move(at.row, at.column + 1),
    PageUp: () => move(at.row - 10, at.column), PageDown: () => move(at.row + 10, at.column),
    Home: (event) => move(event.ctrlKey ? 0 : at.row, 0), End: (event) => move(event.ctrlKey ? count - 1 : at.row, count - 1),
  };
  const enter = () => { open(at.row, at.column); panel.focus(); };
  holder.addEventListener("keydown", (event) => {
    const step = event.key === "Enter" || event.key === " " ? enter : steps[event.key];
    if (!step || event.altKey || event.metaKey) return;
    event.preventDefault();
    step(event);
  });
  panel.addEventListener("keydown", (event) => {
    if (event.key === "Escape") turns[turn].cell.focus();
  });

  const pointed = (event) => {
    const box = holder.getBoundingClientRect();
    const row = Math.floor((event.clientY - box.top) / size);
    const column = Math.floor((event.clientX - box.left) / size);
    return row >= 0 && column >= 0 && row < count && column < count ? [row, column] : null;
  };
  const bars = [make("div", undefined, "hover"), make("div", undefined, "hover")];
  holder.addEventListener("pointermove", (event) => {
    const cell = pointed(event);
    if (!cell) return;
    if (!bars[0].isConnected) holder.append(...bars);
    lay(bars[0], 0, cell[0], count, 1);
    lay(bars[1], cell[1], 0, 1, count);
    tell(...cell);
  });
  holder.addEventListener("pointerleave", () => bars.forEach((bar) => bar.remove()));
  holder.addEventListener("click", (event) => {
    const cell = pointed(event);
    if (!cell) return;
    [at.row, at.column] = cell;
    show(turns[turn]);
    open(...cell);
  });
  chooser.addEventListener("input", () => {
    const { from, to } = chooser.elements;
    if (from.value === "" || to.value === "") return;
    [at.row, at.column] = [Number(from.value), Number(to.value)];
    show(turns[turn]);
    open(at.row, at.column);
    tell(at.row, at.column);
  });
  chooser.addEventListener("submit", (event) => event.preventDefault());
  chooser.hidden = false;
  chooser.reset();

  // A link to a row that the filter hides shows it again.
  panel.addEventListener("click", (event) => {
    const link = event.target.closest("a");
    const row = link && document.getElementById(link.hash.slice(1));
    if (!row) return;
    if (row.hidden) document.querySelector(`form.filter[data-for="${row.closest(".rows").dataset.filtered}"]`).reset();
    const folded = row.closest("details");
    if (folded) folded.open = true;
  });
})();
