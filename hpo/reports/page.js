// Draws the figures and keeps their text readable: in light, in dark, and on paper.
(() => {
  const figures = JSON.parse(document.getElementById("figures").textContent);
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
