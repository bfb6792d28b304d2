"""One plain sentence for each term that a page explains where it stands."""

from __future__ import annotations

TERMS = {
    "face": "How alike the face is to the references: 0 is an average stranger, 0.60 the pass mark, 1 the middle of the references.",
    "skin": "How real the skin of the cheeks looks: texture and colour together, from 0 to 1.",
    "texture": "Whether the skin has the fine texture of the references: too smooth and too noisy both lose.",
    "color": "Whether the skin has a colour that the references have, too.",
    "second_face": "How prominent another face is: its area as a share of the subject's.",
    "lookalike": "How alike any face is to somebody in the folder of people whom no picture may resemble.",
    "age": "For how many years old a model takes the person; below the limit a person must look.",
    "technical": "How sound the picture is: not blank, cut off, blown out, blurred as a whole or framed.",
    "memorised": "How far the picture repeats a picture of the training set, as the highest correlation with one.",
    "bucket": "One of the sizes to which the trainer scales and cuts pictures, so that pictures of several shapes can be trained together.",
    "borderline": "The skin could be judged either way: a little more light or another size could turn the verdict.",
    "alike": "Two pictures that hardly differ, with the same pose, clothes and place.",
    "interval": "Where the true difference lies, as sure as is said: if it holds 0, the difference may be chance.",
    "overall": "The weighted mean of the scores of the gates that have a weight.",
    "approved": "The share of the pictures that pass every gate, unless a person decided otherwise.",
    "has_face": "The share of the pictures in which a face was found.",
    "yaw": "How far the head is turned to the left or right, in degrees; 0 looks into the camera.",
    "face height": "The height of the face as a share of the picture's height: large in a close-up, small in a full-body shot.",
}
