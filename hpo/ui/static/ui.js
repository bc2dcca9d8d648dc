// What the pages do beside htmx: draw the figures of parts that arrive, list what is chosen in parallel coordinates,
// and say when the server has ended.
(() => {
  const holders = (root) => [...(root.matches?.(".blocks") ? [root] : []), ...root.querySelectorAll(".blocks")];
  const own = (holder, selector) => [...holder.querySelectorAll(selector)].filter((e) => e.closest(".blocks") === holder);

  const draw = (holder) => {
    const [figures] = own(holder, "script.figures");
    // What is folded away has no width to be drawn in.
    if (!figures || holder.dataset.drawn || holder.closest("details:not([open])")) return;
    holder.dataset.drawn = "yes";
    const known = JSON.parse(figures.textContent);
    for (const plot of own(holder, ".plot")) {
      plots.draw(plot, known[Number(plot.dataset.figure)]);
      if (plot.closest("#parallel")) brushes(plot, known[Number(plot.dataset.figure)]);
    }
    const [tables] = own(holder, "script.tables");
    if (tables) plots.saves(holder, JSON.parse(tables.textContent));
  };

  // The trials whose line passes through every part that was drawn on a scale.
  const chosenIn = ({ data: [lines], layout }) => {
    const limits = lines.dimensions.map((d) => (d.constraintrange?.length ? [d.constraintrange].flat().flat() : null));
    if (!limits.some(Boolean)) return null;
    const passes = (value, ends) => ends.some((low, k) => k % 2 === 0 && low <= value && value <= ends[k + 1]);
    return layout.meta.trials.filter((_, k) => limits.every((ends, d) => !ends || passes(lines.dimensions[d].values[k], ends)));
  };
  const brushes = (plot, figure) => {
    const values = figure.data[0].dimensions.map((d) => d.values);
    plot.on("plotly_restyle", () => {
      plot.data[0].dimensions.forEach((d, k) => { d.values ??= values[k]; });
      const chosen = chosenIn(plot);
      const said = document.getElementById("how-many");
      const list = document.getElementById("chosen");
      if (chosen === null) {
        said.textContent = "";
        list.replaceChildren();
        return;
      }
      const shown = chosen.slice(0, 50);
      const of = `${chosen.length} of ${plot.layout.meta.trials.length} trials`;
      said.textContent = chosen.length > shown.length ? `${of}; the best ${shown.length} of them:` : `${of}${shown.length ? ", the best first:" : ""}`;
      htmx.ajax("GET", `${document.getElementById("parallel").dataset.chosen}?trials=${shown.join(",")}`, "#chosen");
    });
  };

  document.addEventListener("toggle", (event) => holders(event.target).forEach(draw), true);
  document.addEventListener("htmx:load", (event) => holders(event.detail.elt).forEach(draw));
  document.addEventListener("htmx:beforeCleanupElement", (event) => {
    if (event.detail.elt.matches?.(".js-plotly-plot")) Plotly.purge(event.detail.elt);
  });
  // A part that is replaced between the press and the release of a button would lose the click. Its news come again.
  let pressed = false;
  for (const [name, is] of [["pointerdown", true], ["pointerup", false], ["pointercancel", false]]) {
    document.addEventListener(name, () => { pressed = is; }, true);
  }
  document.addEventListener("htmx:beforeSwap", (event) => {
    const asksForNews = event.detail.requestConfig.verb === "get" && event.detail.requestConfig.path.includes("seen=");
    if (pressed && asksForNews) event.detail.shouldSwap = false;
  });
  // A table that is sorted anew stays where it was scrolled to.
  const table = (target) => (target.id === "rows" ? target.querySelector(".table") : null);
  let scrolled = 0;
  document.addEventListener("htmx:beforeSwap", ({ detail }) => { scrolled = table(detail.target)?.scrollLeft ?? 0; });
  document.addEventListener("htmx:load", ({ detail }) => {
    const there = table(detail.elt);
    if (there) there.scrollLeft = scrolled;
  });
  const away = (is) => { document.getElementById("away").hidden = !is; };
  document.addEventListener("htmx:sendError", () => away(true));
  document.addEventListener("htmx:afterOnLoad", () => away(false));
  // An answer that is no part of a page says why in words.
  document.addEventListener("htmx:responseError", (event) => {
    const said = document.getElementById("said");
    if (!said) return;
    const line = document.createElement("p");
    line.className = "said refused";
    line.textContent = event.detail.xhr.getResponseHeader("content-type")?.startsWith("text/plain")
      ? event.detail.xhr.responseText : `The server answered with an error (${event.detail.xhr.status}).`;
    said.replaceChildren(line);
  });
})();
