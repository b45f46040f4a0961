// All tests in one process, so that they share a browser and a loaded model. What ends the browser's GPU process is last.

import "./package.test.mjs";
import "./library.test.mjs";
import "./decoder.test.mjs";
import "./inputs.test.mjs";
import "./servers.test.mjs";
import "./learn.test.mjs";
import "./page.test.mjs";
import "./trouble.test.mjs";
