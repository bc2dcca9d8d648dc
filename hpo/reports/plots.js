// Figures of a page: drawn so that their text can be read, in light, in dark and on paper; and their numbers, saved.
const plots = (() => {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const light = { ink: "#1c2128", paper: "#ffffff" };
  const night = { ink: "#e4e7eb", paper: "#1c2127" };
  const config = { responsive: true, displayModeBar: false, displaylogo: false };
  const look = (theme) => ({
    "font.color": theme.ink,
    "hoverlabel.bgcolor": theme.paper,
    "hoverlabel.bordercolor": theme.ink,
    "hoverlabel.font.color": theme.ink,
  });
  const now = () => look(dark.matches ? night : light);
  const all = () => [...document.querySelectorAll(".plot.js-plotly-plot")];

  dark.addEventListener("change", () => all().forEach((plot) => Plotly.relayout(plot, now())));
  // Paper is light and narrower than the window; a page does not tell its figures so by itself.
  addEventListener("beforeprint", () => {
    for (const plot of all()) {
      Plotly.relayout(plot, { ...look(light), width: plot.closest(".row:not(.broad)") ? 320 : 660 });
    }
    document.querySelectorAll("details").forEach((details) => { details.open = true; });
  });
  addEventListener("afterprint", () => {
    for (const plot of all()) Plotly.relayout(plot, { ...now(), width: null, autosize: true });
  });

  // The mark at the front tells spreadsheets that the file is UTF-8.
  const save = ([name, csv]) => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob(["\ufeff", csv], { type: "text/csv" }));
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60000);
  };

  return {
    draw(plot, { data, layout }) {
      Plotly.newPlot(plot, data, layout, config);
      Plotly.relayout(plot, now());
    },
    saves(root, tables) {
      for (const button of root.querySelectorAll("button.csv")) {
        button.addEventListener("click", () => save(tables[Number(button.dataset.table)]));
      }
    },
  };
})();
