// All that views are made of.
export * from "./api.js";
export * from "./dom.js";
export * from "./format.js";
export * from "./live.js";
export * from "./widgets.js";
