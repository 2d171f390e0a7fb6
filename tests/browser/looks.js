// What is wrong with how the page looks: sentences, one for each fault.
() => {
  const wrong = [];
  const hidden = (each) => { for (let at = each; at; at = at.parentElement) if (getComputedStyle(at).clipPath !== "none") return true; return false; };
  const visible = (each) => { const box = each.getBoundingClientRect(); const style = getComputedStyle(each); return box.width > 1 && box.height > 1 && style.visibility !== "hidden" && !hidden(each); };
  const named = (each) => `${each.tagName.toLowerCase()}.${each.className} “${(each.textContent || each.value || "").trim().slice(0, 40)}”`;
  if (document.documentElement.scrollWidth > innerWidth) wrong.push(`the page is ${document.documentElement.scrollWidth} wide`);

  // Text that does not fit into its box.
  for (const each of document.querySelectorAll("main *, header *, nav *")) {
    if (!visible(each) || !["BUTTON", "A", "TD", "TH", "DT", "DD", "H1", "H2", "H3", "LABEL", "P", "SPAN", "SUMMARY", "LI"].includes(each.tagName)) continue;
    if (getComputedStyle(each).display !== "inline" && each.scrollWidth > each.clientWidth + 1 && each.clientWidth) wrong.push(`${named(each)} is cut off`);
    const box = each.getBoundingClientRect();
    if (box.right > innerWidth + 1 && !each.closest(".table, pre, .log, .copyable-text")) wrong.push(`${named(each)} reaches out of the page`);
  }
  for (const each of document.querySelectorAll("input[placeholder]")) {
    if (!visible(each) || each.value) continue;
    const pen = document.createElement("canvas").getContext("2d");
    pen.font = getComputedStyle(each).font;
    const style = getComputedStyle(each);
    const room = each.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight);
    if (pen.measureText(each.placeholder).width > room) wrong.push(`the placeholder “${each.placeholder}” is cut off`);
  }

  // Text that is too faint: WCAG's contrast of 4.5 for text.
  const channel = (value) => (value <= 10.31475 ? value / 255 / 12.92 : ((value / 255 + 0.055) / 1.055) ** 2.4);
  const light = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
  const numbers = (text) => text.match(/[\d.]+/g).map(Number);
  const behind = (each) => { for (let at = each; at; at = at.parentElement) { const color = numbers(getComputedStyle(at).backgroundColor); if (color.length === 3 || color[3] > 0.99) return color; } return [255, 255, 255]; };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const each = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || !visible(each) || each.closest(":disabled, noscript, .skip")) continue;
    const [one, two] = [light(numbers(getComputedStyle(each).color)), light(behind(each))].sort((a, b) => b - a);
    if ((one + 0.05) / (two + 0.05) < 4.5) wrong.push(`${named(each)} is too faint: ${((one + 0.05) / (two + 0.05)).toFixed(1)}`);
  }

  // Controls without a name, names that are there twice, and what is too small for a finger.
  for (const each of document.querySelectorAll("button, a[href], input:not([type=file]), select, textarea, summary")) {
    if (!visible(each)) continue;
    const label = each.getAttribute("aria-label") || (each.labels?.length ? [...each.labels].map((label) => label.textContent).join(" ") : "") || (each.matches("button, a, summary") ? each.textContent : "");
    if (!label.trim()) wrong.push(`${named(each)} has no name`);
  }
  const ids = [...document.querySelectorAll("[id]")].map((each) => each.id);
  for (const id of new Set(ids)) if (ids.filter((each) => each === id).length > 1) wrong.push(`the id ${id} is there twice`);
  for (const each of document.querySelectorAll("[aria-describedby]")) if (!document.getElementById(each.getAttribute("aria-describedby"))) wrong.push(`${named(each)} has no description`);
  if (document.querySelectorAll("h1").length !== 1) wrong.push("there is not one heading of the first level");
  return [...new Set(wrong)];
}
