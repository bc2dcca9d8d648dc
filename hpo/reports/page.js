// Unpacks plotly and draws the figures of a report (see plots.js).
(async () => {
  const text = (id) => document.getElementById(id).textContent;
  const figures = JSON.parse(text("figures"));
  const all = [...document.querySelectorAll(".plot")];

  const unpack = async (packed) => {
    const bytes = Uint8Array.from(atob(packed), (character) => character.charCodeAt(0));
    return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).text();
  };

  plots.saves(document, JSON.parse(text("tables")));
  if (!("DecompressionStream" in window)) {
    for (const plot of all) plot.textContent = JSON.parse(text("words")).old;
    return;
  }
  const script = document.createElement("script");
  script.textContent = await unpack(text("plotly"));
  document.head.append(script);

  for (const plot of all) plots.draw(plot, figures[Number(plot.dataset.figure)]);
})();
