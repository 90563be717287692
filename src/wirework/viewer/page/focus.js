// What the pointer or the keyboard is on, or else the chosen node, stands out with its neighbours.

import { element, signed } from "./dom.js";
import { boxName, linesOf } from "./state.js";
import { describeBox } from "./drawing.js";
