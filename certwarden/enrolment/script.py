"""What the page does in the browser: it makes the password, and asks for the certificate once.

Until the button is pressed nothing is sent; the token stands in the URL's fragment, which browsers
keep to themselves. The password outlives a reload of the page in its history's state, as phones
reload pages when they like, and goes with the tab. Asks for nothing newer than iOS 13.
"""

SCRIPT = r"""
"use strict";
(() => {
  const TOKEN = /^#[a-z2-7]{8}-[a-z2-7]{26}$/;
  // As the server makes passwords: none of the letters that look like others.
  const LETTERS = "abcdefghjkmnpqrstuvwxyz", GROUPS = 3, GROUP = 6;
  const STAYS = 8000;  // milliseconds after which the reply was a file, as the page is still here
  const find = (id) => document.getElementById(id);
  const data = JSON.parse(find("data").textContent);
  const form = find("form"), device = find("device"), format = find("format"), get = find("get");
  const token = TOKEN.test(location.hash) ? location.hash.slice(1) : "";
  let language = document.documentElement.lang;
  const kept = history.state && history.state.password ? history.state : null;
  let isFetched = Boolean(kept);

  // ── words and drawings ──────────────────────────────────────────────────────────────────────
  const words = (key) => data.texts[language][key].split("{authority}").join(data.authority);

  function write(element, text) {
    element.textContent = "";
    text.split("*").forEach((part, index) => {
      if (!part) return;
      const bold = index % 2 ? document.createElement("b") : null;
      if (bold) bold.textContent = part;
      element.append(bold || part);
    });
  }

  function drawing(name) {
    const picture = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
    use.setAttribute("href", "#draw-" + name);
    picture.setAttribute("aria-hidden", "true");
    picture.setAttribute("focusable", "false");
    picture.append(use);
    return picture;
  }

  function step([name, key]) {
    const item = document.createElement("li"), text = document.createElement("p");
    write(text, words(key));
    item.append(drawing(name), text);
    return item;
  }

  function offer(wished) {
    format.textContent = "";
    Object.keys(data.guides[device.value]).forEach((each) => {
      const option = document.createElement("option");
      option.value = each;
      option.dataset.text = "form." + device.value + "." + each;
      option.selected = each === wished;
      format.append(option);
    });
  }

  // Where another browser is wanted: a key that this one loses would be lost for good.
  function wanted() {
    const isApple = device.value === "iphone" || device.value === "ipad";
    const isWrong = isApple ? !data.isSafari : device.value === "android" && data.isWebView;
    return isWrong ? "other-browser." + device.value : "";
  }

  function draw() {
    document.documentElement.lang = language;
    form.elements.language.value = language;
    document.title = words("title");
    const other = wanted();
    get.dataset.text = isFetched ? "got" : "get";
    get.disabled = isFetched || !token || Boolean(other);
    find("other-browser-words").dataset.text = other || "other-browser.ipad";
    document.querySelectorAll("[data-text]").forEach((each) => {
      write(each, words(each.dataset.text));
    });
    const guide = data.guides[device.value];
    find("fields").hidden = isFetched;
    find("format-field").hidden = format.options.length < 2;
    find("once").hidden = find("lead").hidden = isFetched;
    find("incomplete").hidden = Boolean(token) || isFetched;
    find("other-browser").hidden = !token || !other || isFetched;
    find("after").hidden = !isFetched;
    find("older").hidden = format.value !== "p12" || !guide["p12-legacy"];
    find("steps").textContent = "";
    guide[format.value].forEach((each) => find("steps").append(step(each)));
    const switcher = find("switch");
    switcher.lang = language === "en" ? "de" : "en";
    switcher.hidden = false;
  }

  // ── the device ──────────────────────────────────────────────────────────────────────────────
  function refine() {
    if (device.value === "mac" && navigator.maxTouchPoints > 1) {
      device.value = "ipad";
      offer();
    }
    const hints = navigator.userAgentData;
    if (device.value !== "android" || !hints || !hints.getHighEntropyValues) return;
    hints.getHighEntropyValues(["platformVersion"]).then((told) => {
      const version = parseInt(told.platformVersion, 10);
      if (!version || isFetched || device.value !== "android") return;
      offer(version < 14 ? "p12-legacy" : "p12");
      draw();
    }, () => {});
  }

  // ── the password ────────────────────────────────────────────────────────────────────────────
  function letter() {
    const byte = new Uint8Array(1);
    const fair = 256 - 256 % LETTERS.length;
    do crypto.getRandomValues(byte); while (byte[0] >= fair);
    return LETTERS[byte[0] % LETTERS.length];
  }

  function group() {
    let letters = "";
    while (letters.length < GROUP) letters += letter();
    return letters;
  }

  function show(groups) {
    const place = find("password");
    place.textContent = "";
    groups.forEach((each, index) => {
      const part = document.createElement("span");
      part.textContent = index < groups.length - 1 ? each + "-" : each;
      place.append(part);
    });
  }

  function copy(text, told) {
    const tell = (isCopied) => write(told, words(isCopied ? "copied" : "not-copied"));
    const byHand = () => {
      const area = document.createElement("textarea");
      area.className = "apart";
      area.value = text;
      document.body.append(area);
      area.select();
      const isCopied = document.execCommand("copy");
      area.remove();
      tell(isCopied);
    };
    told.textContent = "";
    if (navigator.clipboard) navigator.clipboard.writeText(text).then(() => tell(true), byHand);
    else byHand();
  }

  // ── what is tapped ──────────────────────────────────────────────────────────────────────────
  form.addEventListener("submit", (event) => {
    if (get.disabled) {
      event.preventDefault();
      return;
    }
    const groups = [];
    while (groups.length < GROUPS) groups.push(group());
    show(groups);
    form.elements.token.value = token;
    form.elements.password.value = groups.join("-");
    isFetched = true;
    draw();
    write(find("told"), words("got"));
    find("password-head").focus();
    const keep = { password: groups.join("-"), device: device.value, format: format.value };
    // The form has been read when this runs; whoever comes back from a problem can try again.
    setTimeout(() => { form.elements.token.value = form.elements.password.value = ""; }, 0);
    setTimeout(() => history.replaceState(keep, "", location.pathname), STAYS);
  });
  device.addEventListener("change", () => { offer(); draw(); });
  format.addEventListener("change", draw);
  find("copy").addEventListener("click", () => {
    copy(find("password").textContent, find("copied"));
    find("copy").focus();
  });
  find("copy-link").addEventListener("click", () => {
    copy(location.href, find("copied-link"));
    find("copy-link").focus();
  });
  find("switch").addEventListener("click", () => {
    language = language === "en" ? "de" : "en";
    find("copied").textContent = find("copied-link").textContent = "";
    draw();
  });
  // Another link in the same tab changes the fragment only.
  addEventListener("hashchange", () => location.reload());
  addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });

  if (kept) {
    device.value = kept.device;
    offer(kept.format);
    show(kept.password.split("-"));
  } else {
    refine();
  }
  draw();
})();
"""
