/*
 * The shop: every page is drawn here from products.json and the cart in localStorage.
 *
 * Links to products and to the cart use the history API, as a single-page application does; the home page, the
 * catalogue, the checkout and the thank-you page are full loads: the tracker meets both. It knows nothing of this
 * file, and this file of it only `window.clickstream.track` for what is no page view.
 */
"use strict";

const HUES = { Clothing: 210, Kitchen: 28, Home: 140, Travel: 285 };
const page = document.getElementById("page");
const money = (value) => "€" + value.toFixed(2);
const track = (type, properties) => window.clickstream && window.clickstream.track(type, properties);

const cart = {
  read: () => JSON.parse(localStorage.getItem("shop.cart") || "{}"),
  write(lines) {
    localStorage.setItem("shop.cart", JSON.stringify(lines));
    drawCount();
  },
  add(id) {
    const lines = cart.read();
    lines[id] = (lines[id] || 0) + 1;
    cart.write(lines);
  },
  remove(id) {
    const lines = cart.read();
    delete lines[id];
    cart.write(lines);
  },
};

function drawCount() {
  const pieces = Object.values(cart.read()).reduce((sum, count) => sum + count, 0);
  const badge = document.getElementById("count");
  badge.textContent = pieces;
  badge.hidden = !pieces;
}

// Elements, so that no name of a product can ever be markup.
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}
const picture = (product) =>
  make("span", { class: "picture", style: `--hue:${HUES[product.category] ?? 60}`, "aria-hidden": "true" }, drawing(DRAWINGS[product.id] || MARKS.basket));
const mark = (name) => make("div", { class: "mark" }, drawing(MARKS[name]));
const link = (href, attributes, ...children) => make("a", { href, "data-soft": "", ...attributes }, ...children);

const card = (product) =>
  link(`/products/${product.id}`, { class: "card", id: product.id },
    picture(product),
    make("div", {}, make("small", {}, product.category), make("strong", {}, product.name), money(product.price)));

function home(products) {
  const art = make("div", { class: "art", "aria-hidden": "true" });
  for (const product of products.filter((_, index) => index % 2)) art.append(make("span", {}, drawing(DRAWINGS[product.id] || MARKS.basket)));
  art.append(make("span", {}, drawing(MARKS.sprout)));
  return ["Fieldnote Goods", [
    make("section", { class: "hero" },
      make("div", {}, make("h1", {}, "Made to be used, every day."),
        make("p", {}, "A small collection of honest things for the kitchen, the road and the quiet hours at home."),
        make("a", { class: "button", href: "/products", id: "browse" }, "Browse the collection")),
      art),
    make("h2", {}, "This week"),
    make("div", { class: "grid" }, ...products.filter((_, index) => index % 5 === 0).map(card)),
  ]];
}

function catalogue(products) {
  const grid = make("div", { class: "grid" });
  const chips = make("div", { class: "chips" });
  const choose = (category) => {
    grid.replaceChildren(...products.filter((product) => !category || product.category === category).map(card));
    for (const chip of chips.children) chip.setAttribute("aria-pressed", String(chip.textContent === (category || "All")));
  };
  for (const category of ["All", ...new Set(products.map((product) => product.category))]) {
    const wanted = category === "All" ? "" : category;
    chips.append(make("button", { type: "button", onclick: () => { choose(wanted); track("filter", { category }); } }, category));
  }
  choose("");
  return ["Products · Fieldnote Goods", [make("div", { class: "top" }, make("h2", {}, "The collection"), chips), grid]];
}

function detail(product) {
  if (!product) return missing();
  const add = () => {
    cart.add(product.id);
    track("add_to_cart", { product: product.id, price: product.price });
    go("/cart");
  };
  return [`${product.name} · Fieldnote Goods`, [
    make("section", { class: "detail" },
      picture(product),
      make("div", {},
        make("small", {}, product.category), make("h1", {}, product.name), make("p", { class: "price" }, money(product.price)),
        make("p", {}, "Chosen because it lasts, repaired when it does not. Ships within two days, comes back free for sixty."),
        make("button", { type: "button", id: "add", onclick: add }, "Add to cart"), " ",
        make("p", {}, make("a", { class: "back", href: "/products" }, "← all products")))),
  ]];
}

function cartPage(products) {
  const lines = products.filter((product) => cart.read()[product.id]);
  if (!lines.length) {
    return ["Cart · Fieldnote Goods", [make("section", { class: "panel empty" }, mark("basket"),
      make("h2", {}, "Your cart is empty"), make("a", { class: "button", href: "/products" }, "Find something"))]];
  }
  const total = lines.reduce((sum, product) => sum + product.price * cart.read()[product.id], 0);
  return ["Cart · Fieldnote Goods", [make("section", { class: "panel" },
    make("h2", {}, "Your cart"),
    make("ul", { class: "lines" }, ...lines.map((product) => make("li", {},
      picture(product), link(`/products/${product.id}`, {}, `${product.name} × ${cart.read()[product.id]}`),
      money(product.price * cart.read()[product.id]),
      make("button", { type: "button", onclick: () => { cart.remove(product.id); track("remove_from_cart", { product: product.id }); draw(); } }, "remove")))),
    make("div", { class: "total" }, make("strong", {}, money(total)), make("a", { class: "button", href: "/checkout", id: "checkout" }, "Check out")))]];
}

function checkout(products) {
  const done = (event) => {
    event.preventDefault();
    const bought = cart.read();
    const revenue = products.reduce((sum, product) => sum + product.price * (bought[product.id] || 0), 0);
    const pieces = Object.values(bought).reduce((sum, count) => sum + count, 0);
    track("purchase", { order_id: String(Date.now()), revenue, currency: "EUR", pieces });
    cart.write({});
    location.assign("/thank-you");
  };
  const field = (label, name) => make("label", {}, label, make("input", { name, autocomplete: "off" }));
  return ["Checkout · Fieldnote Goods", [make("section", { class: "panel" }, make("h2", {}, "Checkout"),
    make("form", { onsubmit: done }, field("Name", "name"), field("Street", "street"), field("City", "city"),
      make("button", { type: "submit", id: "order" }, "Place the order")))]];
}

const thanks = () => ["Thank you · Fieldnote Goods", [make("section", { class: "panel empty" }, mark("sprout"),
  make("h2", {}, "Thank you!"), make("p", {}, "Your imaginary parcel is on its way."), make("a", { class: "button", href: "/" }, "Back home"))]];
const missing = () => ["Not found · Fieldnote Goods", [make("section", { class: "panel empty" }, mark("compass"),
  make("h2", {}, "There is nothing here"), make("a", { class: "button", href: "/products" }, "All products"))]];

let products = [];
function draw() {
  const path = location.pathname.replace(/(.)\/$/, "$1");
  const pages = { "/": home, "/products": catalogue, "/cart": cartPage, "/checkout": checkout, "/thank-you": thanks };
  const [title, content] = path.startsWith("/products/")
    ? detail(products.find((product) => product.id === path.slice("/products/".length)))
    : (pages[path] || missing)(products);
  document.title = title;
  page.replaceChildren(...content);
}

function go(href) {
  history.pushState(null, "", href);
  draw();
  scrollTo(0, 0);
}

document.addEventListener("click", (event) => {
  const anchor = event.target.closest("a[data-soft]");
  if (!anchor || event.button || event.metaKey || event.ctrlKey || event.shiftKey) return;
  event.preventDefault();
  go(anchor.getAttribute("href"));
});
addEventListener("popstate", draw);
drawCount();
fetch("/products.json").then((response) => response.json()).then((found) => { products = found; draw(); });
