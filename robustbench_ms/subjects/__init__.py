"""From a card to who answers: its model and weights, what it is shown, who it is."""
