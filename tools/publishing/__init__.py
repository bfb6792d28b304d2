"""What published pictures carry: so far the invisible watermark (`watermark`)."""
