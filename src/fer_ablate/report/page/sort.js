// Sorts the rows of judged tables; without this script the page shows them as the study lists them.
for (const order of document.querySelectorAll(".order")) {
  order.hidden = false;
  const body = order.parentElement.querySelector("tbody");
  order.addEventListener("change", event => {
    const key = event.target.value;
    body.append(...[...body.rows].sort((one, other) => one.dataset[key] - other.dataset[key]));
  });
}
