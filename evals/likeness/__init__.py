"""How alike whole pictures are: an embedding for clothes and places, and how to tell that one picture is another, cut or changed."""
