"""What published pictures carry: the invisible watermark (`watermark`), and the register of what its ids stand for (`register`)."""
