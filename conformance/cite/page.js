"use strict";
const form = document.querySelector("form");
const rows = [...document.querySelectorAll(".asked tbody tr")];
const words = new Map(rows.map((row) => [row, row.textContent.toLowerCase()]));

function show() {
  const wanted = Object.fromEntries(new FormData(form));
  const text = wanted.text.trim().toLowerCase();
  let count = 0;
  for (const row of rows) {
    const answers = wanted.role
      ? [row.dataset[wanted.role]].filter(Boolean)
      : [row.dataset.relay, row.dataset.server].filter(Boolean);
    row.hidden = !(
      answers.length > 0 &&
      (!wanted.answer || answers.some((answer) => answer.split("+").includes(wanted.answer))) &&
      (!wanted.rfc || row.dataset.rfc === wanted.rfc) &&
      words.get(row).includes(text)
    );
    if (!row.hidden) count += 1;
  }
  for (const section of document.querySelectorAll("section.rfc"))
    section.hidden = !section.querySelector(".asked tbody tr:not([hidden])");
  document.querySelector("output").textContent = `${count} of ${rows.length} requirements`;
}

form.addEventListener("input", show);
form.addEventListener("submit", (event) => event.preventDefault());
show();
