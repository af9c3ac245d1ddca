"use strict";

// A line chart that moves: series of [x, y] over the last batches, on a canvas of the size it is shown at.
class Chart {
  constructor(canvas, legend, series) {
    this.canvas = canvas;
    this.legend = legend;
    this.series = series; // [{name, colour: "one", of: (moment) => number or null, step: bool}]
    this.digits = 1;
  }

  draw(moments) {
    const canvas = this.canvas;
    const ratio = window.devicePixelRatio || 1;
    const width = canvas.clientWidth;
    const height = canvas.clientHeight;
    if (!width || !height) return;
    if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
      canvas.width = Math.round(width * ratio);
      canvas.height = Math.round(height * ratio);
    }
    const pen = canvas.getContext("2d");
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, width, height);
    const lines = this.series.map((one) => moments.map(one.of));
    const most = niceTop(Math.max(0, ...lines.flat().filter((value) => value !== null)));
    this.axes(pen, width, height, most);
    lines.forEach((values, index) => this.line(pen, width, height, most, values, this.series[index]));
    this.tell(lines);
  }

  axes(pen, width, height, most) {
    const style = getComputedStyle(document.documentElement);
    pen.strokeStyle = style.getPropertyValue("--line");
    pen.fillStyle = style.getPropertyValue("--quiet");
    pen.font = "11px system-ui, sans-serif";
    pen.textBaseline = "middle";
    pen.lineWidth = 1;
    for (const part of [0, 0.5, 1]) {
      const y = place(part, height);
      pen.beginPath();
      pen.moveTo(LEFT, y);
      pen.lineTo(width, y);
      pen.stroke();
      pen.fillText(short(most * part), 0, y);
    }
  }

  line(pen, width, height, most, values, series) {
    pen.strokeStyle = getComputedStyle(document.documentElement).getPropertyValue(`--${series.colour}`);
    pen.lineWidth = 1.6;
    pen.beginPath();
    const across = (index) => LEFT + ((width - LEFT) * index) / Math.max(values.length - 1, 1);
    let before = null;
    values.forEach((value, index) => {
      if (value === null) {
        before = null;
        return;
      }
      const y = place(value / most, height);
      if (before === null) pen.moveTo(across(index), y);
      else if (series.step) pen.lineTo(across(index), before);
      pen.lineTo(across(index), y);
      before = y;
    });
    pen.stroke();
  }

  tell(lines) {
    const parts = this.series.map((series, index) => {
      const known = lines[index].filter((value) => value !== null);
      const now = known.length ? short(known[known.length - 1]) : "–";
      return [series, now];
    });
    this.legend.replaceChildren(
      ...parts.flatMap(([series, now]) => {
        const name = document.createElement("b");
        name.className = series.colour;
        name.textContent = `${series.name} `;
        return [name, document.createTextNode(`${now}  `)];
      }),
    );
  }
}

const LEFT = 34;

function place(part, height) {
  return 8 + (height - 16) * (1 - part);
}

function niceTop(value) {
  if (!(value > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 1.5, 2, 3, 4, 5, 6, 8, 10].map((step) => step * power).find((top) => top >= value);
}

function short(value) {
  if (value >= 1000) return `${+(value / 1000).toPrecision(3)}k`;
  return `${+value.toPrecision(value < 0.01 ? 1 : 3)}`;
}
