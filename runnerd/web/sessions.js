// Conversations that the daemon keeps.
import { h, show } from "./dom.js";
import { empty, heading } from "./widgets.js";
export function sessions(place) { show(place, heading("Sessions"), empty("Not yet", h("span", {}, "…"))); }
