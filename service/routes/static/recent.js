// The list of recent results: bring one back, or compare it with what is heard now.

const $ = (id) => document.getElementById(id);

function button(text, label, action) {
  const made = document.createElement("button");
  made.type = "button";
  made.textContent = text;
  made.setAttribute("aria-label", label);
  made.addEventListener("click", action);
  return made;
}

/** Show the library's results; `bring(result)` and `choose(side, result)` are what buttons do. */
export function showRecent(library, bring, choose) {
  library.addEventListener("change", () => {
    $("recent").hidden = !library.results.length;
    $("recent-list").replaceChildren(...library.results.map((result) => {
      const { title, file, preset, options, took } = result;
      const line = document.createElement("li");
      const facts = document.createElement("span");
      facts.textContent = `${title}: ${options}; ${file}, ${preset}, ${took.toFixed(2)} s`;
      line.append(
        facts,
        button("Bring back", `Bring back ${title}`, () => bring(result)),
        button("As A", `${title} as A`, () => choose(0, result)),
        button("As B", `${title} as B`, () => choose(1, result)),
      );
      return line;
    }));
  });
}
