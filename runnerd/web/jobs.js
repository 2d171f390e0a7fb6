// Conversations that the daemon keeps.
import { h, show } from "./dom.js";
import { empty, heading } from "./widgets.js";
export function jobs(place) { show(place, heading("Jobs"), empty("Not yet", h("span", {}, "…"))); }
