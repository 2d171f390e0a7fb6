// What a model would take of memory with how much context.
import { h } from "./dom.js";
import { empty } from "./widgets.js";

export function fit() {
  return { content: () => empty("Not known yet") , h };
}
