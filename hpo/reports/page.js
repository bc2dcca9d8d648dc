// Unpacks plotly, draws the figures and keeps their text readable: in light, in dark, and on paper.
(async () => {
  const text = (id) => document.getElementById(id).textContent;
  const figures = JSON.parse(text("figures"));
  const tables = JSON.parse(text("tables"));
  const plots = [...document.querySelectorAll(".plot")];
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const light = { ink: "#1c2128", paper: "#ffffff" };
  const night = { ink: "#e4e7eb", paper: "#1c2127" };
  const look = (theme) => ({
    "font.color": theme.ink,
    "hoverlabel.bgcolor": theme.paper,
    "hoverlabel.bordercolor": theme.ink,
    "hoverlabel.font.color": theme.ink,
  });
  const now = () => look(dark.matches ? night : light);
  const config = { responsive: true, displayModeBar: false, displaylogo: false };

  const unpack = async (packed) => {
    const bytes = Uint8Array.from(atob(packed), (character) => character.charCodeAt(0));
    return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).text();
  };

  // The mark at the front tells spreadsheets that the file is UTF-8.
  const save = ([name, csv]) => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob(["\ufeff", csv], { type: "text/csv" }));
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60000);
  };
  for (const button of document.querySelectorAll("button.csv")) {
    button.addEventListener("click", () => save(tables[Number(button.dataset.table)]));
  }

  if (!("DecompressionStream" in window)) {
    for (const plot of plots) plot.textContent = JSON.parse(text("words")).old;
    return;
  }
  const script = document.createElement("script");
  script.textContent = await unpack(text("plotly"));
  document.head.append(script);

  for (const plot of plots) {
    const { data, layout } = figures[Number(plot.dataset.figure)];
    Plotly.newPlot(plot, data, layout, config);
    Plotly.relayout(plot, now());
  }
  dark.addEventListener("change", () => plots.forEach((plot) => Plotly.relayout(plot, now())));

  // Paper is light and narrower than the window; a page does not tell its figures so by itself.
  addEventListener("beforeprint", () => {
    for (const plot of plots) {
      Plotly.relayout(plot, { ...look(light), width: plot.closest(".row:not(.broad)") ? 320 : 660 });
    }
    document.querySelectorAll("details").forEach((details) => { details.open = true; });
  });
  addEventListener("afterprint", () => {
    for (const plot of plots) Plotly.relayout(plot, { ...now(), width: null, autosize: true });
  });
})();
