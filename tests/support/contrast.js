// The texts of the page whose contrast with what lies behind them is below WCAG's AA, with the ratio.
(() => {
  const numbers = (color) => color.match(/[\d.]+/g).map(Number);
  const light = (part) => { const value = part / 255; return value <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4; };
  const luminance = ([r, g, b]) => 0.2126 * light(r) + 0.7152 * light(g) + 0.0722 * light(b);
  const ratio = (a, b) => { const [x, y] = [luminance(a), luminance(b)].sort((p, q) => q - p); return (x + 0.05) / (y + 0.05); };
  const behind = (element) => {
    const box = element.closest("g")?.querySelector("rect");
    if (element.tagName === "text" && box) return numbers(getComputedStyle(box).fill);
    for (let each = element; each; each = each.parentElement) {
      const color = numbers(getComputedStyle(each).backgroundColor);
      if (color.length < 4 || color[3] === 1) return color;
      if (color[3] > 0) throw new Error("half transparent behind " + element.outerHTML);
    }
    return numbers(getComputedStyle(document.documentElement).colorScheme.includes("dark") ? "rgb(0,0,0)" : "rgb(255,255,255)");
  };
  document.querySelectorAll("details").forEach((each) => { each.open = true; });
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT), found = [];
  let texts = 0;
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.textContent.trim() || element.closest("script, style, title") || !element.checkVisibility()) continue;
    texts += 1;
    const style = getComputedStyle(element), ink = numbers(element.tagName === "text" ? style.fill : style.color);
    const value = ratio(ink, behind(element));
    if (value < 4.5) found.push(walker.currentNode.textContent.trim().slice(0, 40) + ": " + value.toFixed(2));
  }
  return { texts, found };
})()
